// The reference's options that TrainingArguments does not have: one table says of each whether a value is
// accepted without effect or refused, and why.
#pragma once
#include <string>
#include <vector>

namespace graft::train {

struct ReferenceArgument {
  enum class Status : uint8_t {
    no_effect,  // accepted; the log says that it has no effect, and why
    later,      // refused: not implemented yet
    never,      // refused: it has no meaning here
  };
  enum class Kind : uint8_t { boolean, integer, number, text };
  const char* name;
  Status status;
  Kind kind;
  // Values that are accepted, with the same line in the log, separated by spaces; "*": all of the kind.
  const char* accepted;
  const char* reason;
};

const std::vector<ReferenceArgument>& reference_arguments();
// Null where the reference has no such option, or graft has it in argument_table().
const ReferenceArgument* find_reference_argument(const std::string& name);
// Accepts the value, which the log then names, or throws UsageError with the reason.
void take_reference_argument(const ReferenceArgument& argument, const std::string& given,
                             const std::string& value);

}  // namespace graft::train
