// Files of a checkpoint folder that several layers use.
#pragma once

namespace graft {

// Files of tokenizers of all formats, which may be beside tokenizer.json.
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
