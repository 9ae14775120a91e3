// generation_config.json, and settings that contradict each other.
#include "generate/settings.h"

#include "generate/settings_table.h"
#include "models/model_case.h"

namespace graft::generate {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(GenerationSettings, AreReadAndWrittenUnderTheirNames) {
  const Json file = {{"max_new_tokens", 7},
                     {"num_beams", 4},
                     {"early_stopping", "never"},
                     {"length_penalty", 0.5},
                     {"eos_token_id", Json::array({3, 4})},
                     {"stop_strings", Json::array({"a", "b"})},
                     {"no_repeat_ngram_size", 2},
                     {"use_cache", false},
                     {"pad_token_id", 0}};
  const GenerationOptions o = read_settings(file, Json(), "g.json");
  EXPECT_EQ(*o.max_new_tokens, 7);
  EXPECT_EQ(o.early_stopping, EarlyStopping::never);
  EXPECT_THAT(o.eos_token_id, ElementsAre(3, 4));
  EXPECT_FALSE(o.use_cache);
  EXPECT_EQ(to_json(o).dump(), to_json(read_settings(to_json(o), Json(), "again")).dump());
  for (const auto& [key, value] : file.items()) EXPECT_EQ(to_json(o).at(key).dump(), value.dump()) << key;
}

TEST(GenerationSettings, TheTokensOfTheModelAreTheFallback) {
  const Json config = {{"eos_token_id", 5}, {"bos_token_id", 6}, {"pad_token_id", Json()}};
  GenerationOptions o = read_settings(Json(), config, "none");
  EXPECT_THAT(o.eos_token_id, ElementsAre(5));
  EXPECT_EQ(o.bos_token_id, 6);
  EXPECT_FALSE(o.pad_token_id);
  o = read_settings({{"eos_token_id", 9}}, config, "g.json");
  EXPECT_THAT(o.eos_token_id, ElementsAre(9));
}

TEST(GenerationSettings, WhatIsNotImplementedIsRefused) {
  const auto complaint = [](const Json& file) {
    return error_of([&] { read_settings(file, Json(), "g.json"); });
  };
  EXPECT_THAT(complaint({{"num_beam_groups", 4}}),
              AllOf(HasSubstr("g.json"), HasSubstr("\"num_beam_groups\" is 4")));
  EXPECT_THAT(complaint({{"bad_words_ids", Json::array({1})}}), HasSubstr("bad_words_ids"));
  EXPECT_THAT(complaint({{"temperature", "hot"}}), HasSubstr("\"temperature\" must be a number"));
  EXPECT_THAT(complaint({{"eos_token_id", 1.5}}), HasSubstr("\"eos_token_id\" must be an integer"));
  EXPECT_THAT(complaint({{"early_stopping", "soon"}}), HasSubstr("true, false or \"never\""));
  EXPECT_NO_THROW(read_settings({{"num_beam_groups", 1}, {"diversity_penalty", 0}, {"penalty_alpha", Json()}},
                                Json(), "g"));
}

TEST(GenerationSettings, EachIsReadAndWritten) {
  for (const Setting& s : settings_table()) {
    const std::string name = s.name;
    const Json value = name == "early_stopping"                                        ? Json("never")
                       : name == "stop_strings"                                        ? Json::array({"a"})
                       : name == "do_sample"                                           ? Json(true)
                       : name == "use_cache"                                           ? Json(false)
                       : std::holds_alternative<double GenerationOptions::*>(s.member) ? Json(3.0)
                                                                                       : Json(3);
    const GenerationOptions o = change_settings({}, {{name, value}}, "given");
    EXPECT_EQ(to_json(o).dump(), s.in_file ? Json({{name, value}}).dump() : "{}");
    if (s.in_file) {
      EXPECT_EQ(to_json(read_settings({{name, value}}, Json(), "g.json")).dump(), to_json(o).dump());
    }
  }
}

TEST(GenerationSettings, GivenOnesAreCheckedByName) {
  GenerationOptions folder;
  folder.max_new_tokens = 5;
  folder.num_beams = 2;
  const auto changed = [&](const Json& given) { return change_settings(folder, given, "given"); };
  EXPECT_EQ(changed({{"seed", 7}}).seed, 7u);
  EXPECT_EQ(changed({{"seed", 7}}).num_beams, 2);
  EXPECT_FALSE(changed({{"max_length", 9}}).max_new_tokens);
  EXPECT_EQ(changed({{"max_length", 9}, {"max_new_tokens", 4}}).max_new_tokens, 4);
  EXPECT_THAT(error_of([&] { changed({{"num_beam", 3}}); }), HasSubstr("given: unknown key \"num_beam\""));
  EXPECT_THAT(error_of([&] { changed({{"seed", -1}}); }), HasSubstr("\"seed\" must be at least 0"));
  EXPECT_THAT(error_of([&] { changed({{"num_beam_groups", 3}}); }), HasSubstr("does not implement"));
}

TEST(GenerationSettings, ContradictionsAreUsageErrors) {
  const auto complaint = [](const Json& file) {
    return error_of([&] { check(read_settings(file, Json(), "g.json")); });
  };
  EXPECT_NO_THROW(check(GenerationOptions()));
  EXPECT_THAT(complaint({{"do_sample", true}, {"num_beams", 2}}), HasSubstr("num_beams 2 with do_sample"));
  EXPECT_THAT(complaint({{"num_return_sequences", 2}}), HasSubstr("without do_sample or beams"));
  EXPECT_THAT(complaint({{"num_beams", 2}, {"num_return_sequences", 3}}), HasSubstr("more than the 2 beams"));
  EXPECT_THAT(complaint({{"min_length", 9}, {"max_length", 5}}),
              HasSubstr("min_length 9 is more than max_length 5"));
  EXPECT_THAT(complaint({{"min_new_tokens", 9}, {"max_new_tokens", 5}}), HasSubstr("min_new_tokens 9"));
  EXPECT_THAT(complaint({{"temperature", 0}}), HasSubstr("temperature is 0"));
  EXPECT_THAT(complaint({{"top_p", 1.5}}), HasSubstr("top_p is 1.5"));
  EXPECT_THAT(complaint({{"typical_p", 0}}), HasSubstr("typical_p is 0"));
  EXPECT_THAT(complaint({{"top_k", -1}}), HasSubstr("top_k is -1"));
  EXPECT_THAT(complaint({{"repetition_penalty", 0}}), HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(complaint({{"max_new_tokens", 0}}), HasSubstr("max_new_tokens is 0"));
  EXPECT_THAT(complaint({{"stop_strings", ""}}), HasSubstr("a stop string is empty"));
}

}  // namespace
}  // namespace graft::generate
