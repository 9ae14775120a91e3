/* Embeddings in C: load a sentence encoder, embed texts, free. The rules of graft/graft.h hold here, too. */
#ifndef GRAFT_EMBED_H
#define GRAFT_EMBED_H

#include "graft/graft.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded sentence encoder with its tokenizer. */
typedef struct graft_embedder graft_embedder;

/* Loads a folder, or a model by its name. NULL on failure. */
GRAFT_API graft_embedder* graft_embedder_open(const char* folder);
/* Numbers of an embedding. */
GRAFT_API size_t graft_embedder_dimension(const graft_embedder* embedder);
/* The embeddings of `count` texts, row by row; `values` has room for count * dimension numbers. Nothing is
 * written on failure. */
GRAFT_API graft_status graft_embed(const graft_embedder* embedder, const char* const* texts, size_t count,
                                   float* values);
/* Frees an embedder; NULL is allowed. */
GRAFT_API void graft_embedder_close(graft_embedder* embedder);

#ifdef __cplusplus
}
#endif

#endif
