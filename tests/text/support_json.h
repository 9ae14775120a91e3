// Small tokenizer.json texts for tests.
#pragma once
#include <memory>
#include <string>

#include "graft/tokenizer.h"
#include "text/tokenizer_json.h"

namespace graft::text {

struct SmallTokenizer {
  std::string normalizer = "null", pre_tokenizer = R"({"type": "WhitespaceSplit"})", post_processor = "null",
              decoder = "null", added_tokens = "[]", extra;
  std::string model = R"({"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2}, "unk_token": "[UNK]"})";

  std::string json() const {
    return R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": )" + added_tokens +
           R"(, "normalizer": )" + normalizer + R"(, "pre_tokenizer": )" + pre_tokenizer +
           R"(, "post_processor": )" + post_processor + R"(, "decoder": )" + decoder + extra +
           R"(, "model": )" + model + "}";
  }
  std::shared_ptr<Tokenizer> make() const { return tokenizer_from_json(json(), "small.json"); }
};

}  // namespace graft::text
