// Options of the reference that TrainingArguments does not have. One table lists for each whether a value is
// accepted without effect or refused, and the reason.
#pragma once
#include <string>
#include <vector>

namespace graft::train {

struct ReferenceArgument {
  enum class Status : uint8_t {
    no_effect,  // accepted; the log names the reason why it has no effect
    later,      // refused: not implemented yet
    never,      // refused: it has no meaning here
  };
  enum class Kind : uint8_t { boolean, integer, number, text };
  const char* name;
  Status status;
  Kind kind;
  // Accepted values, separated by spaces, with a line in the log; "*" = all values of the kind.
  const char* accepted;
  const char* reason;
};

const std::vector<ReferenceArgument>& reference_arguments();
// Null if the reference has no such option, or if argument_table() has it.
const ReferenceArgument* find_reference_argument(const std::string& name);
// Whether this is the reference's default of one of them, as a file of all arguments repeats it.
bool is_reference_default(const std::string& name, const std::string& value);
// Accepts the value with a line in the log, or throws UsageError with the reason.
void take_reference_argument(const ReferenceArgument& argument, const std::string& given,
                             const std::string& value);

}  // namespace graft::train
