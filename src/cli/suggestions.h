// Names that users type for options and verbs of graft. An alias has the meaning of the option and is taken;
// the other names are only suggested in the message about an unknown one.
#pragma once
#include <string>
#include <vector>

namespace graft::cli {

// The option among `options` that `name` is an alias of, else `name` itself.
std::string option_of_alias(const std::string& name, const std::vector<std::string>& options);
// The option among `options` that the user of `name` probably means: a row of the table, else the nearest
// name; "" = none.
std::string suggested_option(const std::string& name, const std::vector<std::string>& options);
// The same for a verb.
std::string suggested_verb(const std::string& name, const std::vector<std::string>& verbs);

// All names in the tables, for the tests.
std::vector<std::string> known_misnomers();

}  // namespace graft::cli
