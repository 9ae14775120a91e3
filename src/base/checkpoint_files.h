// Files of a checkpoint folder that more than one layer asks for.
#pragma once

namespace graft {

// What may lie beside tokenizer.json: the tokenizers of every format.
inline constexpr const char* kTokenizerFiles[] = {"tokenizer_config.json",
                                                  "special_tokens_map.json",
                                                  "added_tokens.json",
                                                  "vocab.txt",
                                                  "vocab.json",
                                                  "merges.txt",
                                                  "sentencepiece.bpe.model",
                                                  "spiece.model",
                                                  "spm.model",
                                                  "tokenizer.model"};

}  // namespace graft
