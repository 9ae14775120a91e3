// Names of the reference that newer releases of it refuse. graft takes them.
#pragma once
#include <string>
#include <vector>

namespace graft::train {

struct OlderName {
  const char* name;
  const char* refused_from;  // the release of transformers
  const char* instead;       // what that release has
};

// Compared with the fields of TrainingArguments in transformers 4.57.6 and 5.24.0.
const std::vector<OlderName>& older_names();
// Logs which releases refuse the name, if some do.
void note_older_name(const std::string& given);

}  // namespace graft::train
