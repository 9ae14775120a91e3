// The settings of a generation, once: generation_config.json, `graft generate` and the C interface read this
// table.
#pragma once
#include <variant>
#include <vector>

#include "graft/generation_options.h"

namespace graft::generate {

// A limit of tokens that may be absent.
using Limit = std::optional<int64_t>;
using TokenId = std::optional<int32_t>;
using TokenIds = std::vector<int32_t>;
using Texts = std::vector<std::string>;

using Member =
    std::variant<int64_t GenerationOptions::*, Limit GenerationOptions::*, uint64_t GenerationOptions::*,
                 double GenerationOptions::*, bool GenerationOptions::*, EarlyStopping GenerationOptions::*,
                 Texts GenerationOptions::*, TokenId GenerationOptions::*, TokenIds GenerationOptions::*>;

// Where a setting has an effect.
enum class Needs : uint8_t { nothing, sampling, beams };

struct Setting {
  const char* name;  // in generation_config.json and as an option
  Member member;
  const char* help = nullptr;  // of the option; null = there is none
  int64_t min = 0;             // of integers
  Needs needs = Needs::nothing;
  bool in_file = true;  // generation_config.json has it
};

const std::vector<Setting>& settings_table();

}  // namespace graft::generate
