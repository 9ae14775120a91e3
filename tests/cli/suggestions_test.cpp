// What a command answers to a name that it does not have: an option of this very command, or its --help.
#include "cli/suggestions.h"

#include <regex>
#include <set>

#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::vector<std::string> kAllVerbs = {"train", "evaluate", "predict", "tokenize",
                                            "info",  "parity",   "pull",    "train-tokenizer"};

std::vector<std::string> options_in_help(const std::string& verb) {
  const std::string help = graft_output({verb, "--help"});
  const std::regex option("\n  --([a-z0-9_]+) ");
  std::vector<std::string> names = {"help"};
  for (std::sregex_iterator at(help.begin(), help.end(), option), end; at != end; ++at)
    names.push_back((*at)[1]);
  return names;
}

TEST(Suggestions, EveryNameOfTheTablesInEveryVerb) {
  const std::regex suggestion("did you mean --([a-z0-9_]+)\\?");
  for (const std::string& verb : kAllVerbs) {
    const std::vector<std::string> options = options_in_help(verb);
    const std::set<std::string> has(options.begin(), options.end());
    for (const std::string& name : cli::known_misnomers()) {
      if (has.contains(name) || cli::option_of_alias(name, options) != name) continue;
      const std::string expected = cli::suggested_option(name, options);
      EXPECT_TRUE(expected.empty() || has.contains(expected)) << verb << " " << name << " " << expected;
    }
    // The program as a whole, for the names that are typed most.
    for (const std::string name : {"lr", "epochs", "data", "batch_size", "threads", "output", "text"}) {
      if (has.contains(name) || cli::option_of_alias(name, options) != name) continue;
      const Result r = run_graft({verb, "--" + name, "1"});
      EXPECT_EQ(r.code, 2) << verb << " " << name;
      EXPECT_THAT(r.err, HasSubstr("--" + name + " is not an option of `graft " + verb + "`"));
      std::smatch found;
      if (std::regex_search(r.err, found, suggestion)) {
        EXPECT_TRUE(has.contains(found[1])) << verb << " " << name << " " << r.err;
      } else {
        EXPECT_THAT(r.err, HasSubstr("graft " + verb + " --help lists them"));
      }
    }
  }
}

TEST(Suggestions, TheOptionThatIsMeant) {
  const std::vector<std::vector<std::string>> cases = {
      {"train", "lr", "learning_rate"},
      {"train", "epochs", "num_train_epochs"},
      {"train", "data", "train_file"},
      {"train", "train", "train_file"},
      {"train", "batch_size", "per_device_train_batch_size"},
      {"train", "output", "output_dir"},
      {"train", "input", "train_file"},
      {"evaluate", "validation_file", "test_file"},
      {"evaluate", "data", "test_file"},
      {"evaluate", "train_file", "test_file"},
      {"evaluate", "fp16", "bf16"},
      {"predict", "test_file", "input"},
      {"predict", "output_dir", "output"},
      {"predict", "text", "input"},
      {"tokenize", "test_file", "input"},
      {"train-tokenizer", "input", "train_file"},
      {"train-tokenizer", "output", "output_dir"},
      {"train-tokenizer", "vocabulary_size", "vocab_size"},
  };
  for (const std::vector<std::string>& c : cases) {
    const Result r = run_graft({c[0], "--" + c[1], "1"});
    EXPECT_EQ(r.code, 2);
    EXPECT_THAT(r.err, AllOf(HasSubstr("--" + c[1] + " is not an option of `graft " + c[0] + "`"),
                             HasSubstr("did you mean --" + c[2] + "?")));
  }
}

TEST(Suggestions, OptionsThatACommandLacks) {
  for (const std::string verb : {"info", "pull"}) {
    for (const std::string name : {"threads", "batch_size", "lr"})
      EXPECT_THAT(run_graft({verb, "--" + name, "1"}).err, HasSubstr("graft " + verb + " --help lists them"))
          << name;
  }
}

TEST(Suggestions, SpellingsOfOptions) {
  const auto refused = [](const std::vector<std::string>& args, const std::string& part) {
    const Result r = run_graft(args);
    EXPECT_EQ(r.code, 2) << r.err;
    EXPECT_THAT(r.err, HasSubstr(part));
  };
  refused({"predict", "-model", "x"},
          "\"-model\": an option begins with two dashes\nhint: did you mean --model?");
  refused({"train", "-lr", "1"}, "hint: did you mean --learning_rate?");
  refused({"train", "--MAX_STEPS", "1"}, "did you mean --max_steps?");
  refused({"train", "--LR", "1"}, "did you mean --learning_rate?");
  refused({"predict", "results"},
          "\"results\" does not belong to any option\nhint: did you mean --model \"results\"?");
  refused({"evaluate", "--model", "x", "dev.csv"}, "hint: did you mean --test_file \"dev.csv\"?");
  refused({"predict", "--model", "x", "text"}, "hint: graft predict --help lists the options");
  refused({"pull", "/"}, "/: is a folder on this machine");
  refused({"Train"}, "did you mean `graft train`?");
  refused({"train_tokenizer"}, "did you mean `graft train-tokenizer`?");
  refused({"train", "--config", "options.yaml"}, "options.yaml: yaml is not read");
}

TEST(Suggestions, Verbs) {
  for (const auto& [typed, meant] :
       std::vector<std::pair<std::string, std::string>>{{"eval", "evaluate"},
                                                        {"finetune", "train"},
                                                        {"fit", "train"},
                                                        {"test", "evaluate"},
                                                        {"infer", "predict"},
                                                        {"download", "pull"},
                                                        {"tokenizer", "train-tokenizer"},
                                                        {"trian", "train"}}) {
    const Result r = run_graft({typed});
    EXPECT_EQ(r.code, 2);
    EXPECT_THAT(r.err,
                HasSubstr("graft has no verb \"" + typed + "\"\nhint: did you mean `graft " + meant + "`?"));
  }
}

}  // namespace
}  // namespace graft::test
