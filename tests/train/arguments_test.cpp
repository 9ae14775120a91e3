// TrainingArguments by name.
#include "train/arguments.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>

#include "base/log.h"
#include "graft/error.h"
#include "support/shared.h"

namespace graft::train {
namespace {
using test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TrainingArguments with(const std::string& name, const std::string& value) {
  TrainingArguments a;
  set_argument(a, name, value);
  return a;
}

// "" when it can be set, else the message.
std::string complaint(const std::string& name, const std::string& value) {
  try {
    with(name, value);
    return "";
  } catch (const UsageError& e) {
    return e.what();
  }
}

// What the log says while `f` runs.
std::string logged(const std::function<void()>& f) {
  std::string out;
  const LogSink former = set_log_sink([&](LogLevel, const std::string& text) { out += text + "\n"; });
  f();
  set_log_sink(former);
  return out;
}

TEST(Arguments, WhatCannotBeHonouredIsRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"save_safetensors", "false"},
                                                                  {"tf32", "banana"},
                                                                  {"local_rank", "3"},
                                                                  {"past_index", "2"},
                                                                  {"use_cache", "perhaps"},
                                                                  {"ray_scope", "all"},
                                                                  {"tp_size", "2"},
                                                                  {"log_level_replica", "loud"}};
  for (const auto& [name, value] : cases)
    EXPECT_THAT(complaint(name, value), HasSubstr("--" + name + " " + value)) << name;
  EXPECT_THAT(complaint("local_rank", "3"), HasSubstr("one process"));
  EXPECT_EQ(complaint("label_smoothing_factor", "0.0"), "");
  EXPECT_EQ(complaint("fp16", "False"), "");
}

TEST(Arguments, EveryNameOfTheTableCanBeSet) {
  for (const Argument& a : argument_table()) {
    const bool text = std::holds_alternative<std::string TrainingArguments::*>(a.member);
    EXPECT_EQ(complaint(a.name, text ? "no" : "1"), "") << a.name;
    EXPECT_TRUE(to_json(TrainingArguments()).contains(a.name)) << a.name;
    EXPECT_TRUE(is_argument(a.name)) << a.name;
    EXPECT_GT(std::string(a.help).size(), 5u) << a.name;
  }
}

TEST(Arguments, DefaultsAreTheReferences) {
  const Json json = to_json(TrainingArguments());
  EXPECT_EQ(json["learning_rate"], 5e-5);
  EXPECT_EQ(json["per_device_train_batch_size"], 8);
  EXPECT_EQ(json["num_train_epochs"], 3.0);
  EXPECT_EQ(json["adam_beta2"], 0.999);
  EXPECT_EQ(json["max_grad_norm"], 1.0);
  EXPECT_EQ(json["logging_steps"], 500);
  EXPECT_EQ(json["save_strategy"], "steps");
  EXPECT_EQ(json["eval_strategy"], "no");
  EXPECT_EQ(json["seed"], 42);
  EXPECT_TRUE(json["data_seed"].is_null());
  EXPECT_TRUE(json["save_total_limit"].is_null());
}

TEST(Arguments, NumbersAsPeopleWriteThem) {
  EXPECT_EQ(with("save_steps", "10_000").save_steps, 10000);
  EXPECT_EQ(with("max_steps", "1_000").max_steps, 1000);
  EXPECT_EQ(with("max_steps", "1e4").max_steps, 10000);
  EXPECT_EQ(with("max_steps", "-1").max_steps, -1);
  EXPECT_EQ(with("num_train_epochs", "3").num_train_epochs, 3.0);
  EXPECT_EQ(with("per_device_train_batch_size", "32.0").per_device_train_batch_size, 32);
  EXPECT_EQ(with("learning_rate", "2e-5").learning_rate, 2e-5);
  EXPECT_EQ(with("learning_rate", "+.5").learning_rate, 0.5);
  EXPECT_EQ(with("seed", "18446744073709551615").seed, 18446744073709551615ull);
  EXPECT_EQ(*with("save_total_limit", "2").save_total_limit, 2);
  EXPECT_EQ(*with("data_seed", "7").data_seed, 7u);
  EXPECT_EQ(*with("eval_steps", "0.25").eval_steps, 0.25);
}

TEST(Arguments, SwitchesAsPeopleWriteThem) {
  for (const char* yes : {"true", "True", "1", "yes", "on", ""})
    EXPECT_TRUE(with("do_train", yes).do_train) << yes;
  TrainingArguments a;
  a.do_eval = true;
  for (const char* no : {"false", "False", "0", "no", "off"}) {
    TrainingArguments b = a;
    set_argument(b, "do_eval", no);
    EXPECT_EQ(b.do_eval, false) << no;
  }
  EXPECT_THAT(complaint("do_train", "maybe"),
              AllOf(HasSubstr("--do_train maybe"), HasSubstr("true or false")));
}

TEST(Arguments, AValueOfAnotherKindIsNamed) {
  EXPECT_THAT(complaint("learning_rate", "fast"),
              AllOf(HasSubstr("--learning_rate fast"), HasSubstr("a number")));
  EXPECT_THAT(complaint("max_steps", "2.5"), AllOf(HasSubstr("--max_steps 2.5"), HasSubstr("an integer")));
  EXPECT_THAT(complaint("seed", "-1"), HasSubstr("--seed -1"));
  EXPECT_THAT(complaint("max_steps", ""), HasSubstr("an integer"));
  EXPECT_THAT(complaint("max_steps", "1e30"),
              HasSubstr("--max_steps 1e30 is out of range: it may be from 1 to"));
  EXPECT_THAT(complaint("max_steps", "nan"), HasSubstr("an integer"));
  EXPECT_THAT(complaint("learning_rate", "1e-5x"), HasSubstr("a number"));
}

TEST(Arguments, AliasesAreUnderstood) {
  EXPECT_EQ(with("evaluation_strategy", "steps").eval_strategy, "steps");
  EXPECT_EQ(with("per_gpu_train_batch_size", "4").per_device_train_batch_size, 4);
  EXPECT_EQ(with("max_length", "64").max_seq_length, 64);
  EXPECT_EQ(with("group_by_length", "true").train_sampling_strategy, "group_by_length");
  EXPECT_THAT(logged([] { with("group_by_length", "false"); }),
              HasSubstr("--group_by_length false has no effect"));
  EXPECT_EQ(with("group_by_length", "false").train_sampling_strategy, "random");
  EXPECT_EQ(with("adafactor", "true").optim, "adafactor");
  EXPECT_THAT(logged([] { with("adafactor", "false"); }), HasSubstr("--adafactor false has no effect"));
  TrainingArguments chosen = with("optim", "adafactor");
  set_argument(chosen, "adafactor", "false");
  EXPECT_EQ(chosen.optim, "adamw_torch");
  EXPECT_EQ(canonical_argument("evaluation_strategy"), "eval_strategy");
  EXPECT_EQ(canonical_argument("seed"), "seed");
}

TEST(Arguments, OnlyWhatIsThereIsAccepted) {
  EXPECT_EQ(complaint("fp16", "false"), "");
  EXPECT_EQ(complaint("optim", "adamw_torch"), "");
  EXPECT_EQ(complaint("report_to", "none"), "");
  EXPECT_THAT(complaint("fp16", "true"), HasSubstr("not yet implemented"));
  EXPECT_THAT(complaint("deepspeed", "x.json"), HasSubstr("PyTorch"));
}

TEST(Arguments, AnUnknownNameGetsTheNearest) {
  EXPECT_THAT(error_of([] { with("learning_rat", "1"); }),
              AllOf(HasSubstr("--learning_rat is not known"), HasSubstr("did you mean --learning_rate?")));
  EXPECT_THAT(error_of([] { with("warmup_step", "1"); }), HasSubstr("--warmup_steps"));
  EXPECT_THAT(error_of([] { with("xyzzy", "1"); }), Not(HasSubstr("did you mean")));
}

TEST(Settle, FillsWhatFollowsAndChecksTheRest) {
  TrainingArguments a;
  a.eval_strategy = "steps";
  a.logging_steps = 20;
  settle(a);
  EXPECT_EQ(*a.eval_steps, 20);
  EXPECT_EQ(a.do_eval, true);
  const auto refused = [](const std::string& name, const std::string& value) {
    TrainingArguments b = with(name, value);
    return error_of([&] { settle(b); });
  };
  EXPECT_THAT(refused("per_device_train_batch_size", "0"), HasSubstr("--per_device_train_batch_size"));
  EXPECT_THAT(refused("gradient_accumulation_steps", "0"), HasSubstr("--gradient_accumulation_steps"));
  EXPECT_THAT(refused("num_train_epochs", "0"), HasSubstr("--num_train_epochs"));
  EXPECT_THAT(refused("eval_strategy", "sometimes"),
              AllOf(HasSubstr("sometimes"), HasSubstr("no, steps, epoch")));
  EXPECT_THAT(refused("lr_scheduler_type", "linea"), HasSubstr("linear"));
  EXPECT_THAT(refused("train_sampling_strategy", "randm"), HasSubstr("random"));
  EXPECT_THAT(refused("save_total_limit", "0"), HasSubstr("--save_total_limit"));
  EXPECT_THAT(refused("mlm_probability", "0"), HasSubstr("--mlm_probability"));
  EXPECT_THAT(refused("adam_beta1", "1"), HasSubstr("adam_beta1"));
  EXPECT_THAT(refused("max_grad_norm", "-1"), HasSubstr("max_grad_norm"));
  EXPECT_THAT(refused("warmup_ratio", "1.5"), HasSubstr("--warmup_ratio 1.5 is out of range"));
  EXPECT_THAT(refused("eval_steps", "0"), HasSubstr("--eval_steps"));
  for (const char* name : {"../outside", "/tmp/x", ".."})
    EXPECT_THAT(refused("run_name", name), AllOf(HasSubstr("--run_name"), HasSubstr("output_dir/runs")));
}

// Every number is checked: what it may be is part of the message, and nothing overflows on the way.
TEST(Settle, NumbersOutOfTheirRangeAreNamedWithIt) {
  const auto refused = [](const std::string& name, const std::string& value) {
    return error_of([&] {
      TrainingArguments b = with(name, value);
      settle(b);
    });
  };
  for (const Argument& a : argument_table()) {
    const bool real = std::holds_alternative<double TrainingArguments::*>(a.member) ||
                      std::holds_alternative<std::optional<double> TrainingArguments::*>(a.member);
    const bool whole = std::holds_alternative<int64_t TrainingArguments::*>(a.member) ||
                       std::holds_alternative<std::optional<int64_t> TrainingArguments::*>(a.member);
    if (!real && !whole) continue;
    for (const char* value : {"inf", "-inf", "nan", "1e300", "-5"}) {
      if (std::string_view(a.name) == "null_score_diff_threshold" && std::string_view(value) == "-5")
        continue;
      EXPECT_THAT(refused(a.name, value), HasSubstr(fmt::format("--{} ", a.name))) << a.name << " " << value;
    }
  }
  EXPECT_THAT(refused("warmup_ratio", "3"),
              HasSubstr("--warmup_ratio 3 is out of range: it may be from 0 to 1"));
  EXPECT_THAT(refused("weight_decay", "-5"),
              HasSubstr("--weight_decay -5 is out of range: it may be from 0 to"));
  EXPECT_THAT(refused("num_train_epochs", "inf"), HasSubstr("--num_train_epochs inf: a finite number"));
  EXPECT_THAT(refused("max_steps", "0"), AllOf(HasSubstr("--max_steps 0"), HasSubstr("or -1 (the default)")));
  EXPECT_THAT(refused("logging_steps", "2.5"), HasSubstr("from 1 on an integer"));
  EXPECT_THAT(refused("adam_beta2", "1"), HasSubstr("from 0 to below 1"));
  EXPECT_THAT(refused("per_device_eval_batch_size", "0"), HasSubstr("--per_device_eval_batch_size 0"));
}

// Every number of the table at its bounds, next to them, without a value and without being one.
TEST(Settle, EveryRangeHoldsAtItsBounds) {
  int numbers = 0;
  for (const Argument& argument : argument_table()) {
    SCOPED_TRACE(argument.name);
    const Range& range = argument.range;
    const auto complaint_about = [&](double value) {
      TrainingArguments a;
      a.eval_strategy = "epoch";  // what early stopping needs
      const std::string_view name = argument.name;
      if (name.starts_with("lora_")) a.peft_type = "lora";
      if (name == "reduction_factor" || name == "adapter_dropout") a.peft_type = "seq_bn";
      if (name == "inv_adapter_reduction_factor") a.peft_type = "seq_bn_inv";
      if (name == "num_virtual_tokens") a.peft_type = "prompt_tuning";
      a.span_mask = name == "geometric_p" || name == "span_upper";
      std::visit(
          [&](auto member) {
            auto& field = a.*member;
            using Field = std::decay_t<decltype(field)>;
            if constexpr (std::is_same_v<Field, double> || std::is_same_v<Field, std::optional<double>>)
              field = value;
            else if constexpr (std::is_same_v<Field, int64_t> ||
                               std::is_same_v<Field, std::optional<int64_t>>)
              field = static_cast<int64_t>(value);
          },
          argument.member);
      try {
        check(a);
      } catch (const UsageError& e) {
        return std::string(e.what());
      }
      return std::string();
    };
    const bool real = std::holds_alternative<double TrainingArguments::*>(argument.member) ||
                      std::holds_alternative<std::optional<double> TrainingArguments::*>(argument.member);
    const bool whole = std::holds_alternative<int64_t TrainingArguments::*>(argument.member) ||
                       std::holds_alternative<std::optional<int64_t> TrainingArguments::*>(argument.member);
    if (!real && !whole) continue;
    ++numbers;
    const std::string named = fmt::format("--{} ", argument.name);
    EXPECT_LT(range.min, range.max);
    EXPECT_GT(range.min, -1e31) << "has no range";
    EXPECT_LT(range.max, 1e31) << "has no range";
    const double inside = std::floor(std::min(range.max, std::max(range.min, 0.0) + 1));
    const double in_range = range.contains(inside) ? inside : (range.min + range.max) / 2;
    EXPECT_EQ(complaint_about(in_range), "");
    if (range.ends == Range::Ends::included) {
      EXPECT_EQ(complaint_about(range.min), "");
    }
    if (range.ends != Range::Ends::without_max) {
      EXPECT_EQ(complaint_about(range.max), "");
    }
    if (range.ends == Range::Ends::without_max) {
      EXPECT_THAT(complaint_about(range.max), HasSubstr(named));
    }
    EXPECT_THAT(complaint_about(real ? std::nextafter(range.max, 1e300) : range.max + 1), HasSubstr(named));
    if (real) {
      EXPECT_THAT(complaint_about(std::nextafter(range.min, -1e300)), HasSubstr(named));
      EXPECT_THAT(complaint_about(std::numeric_limits<double>::quiet_NaN()), HasSubstr(named));
      EXPECT_THAT(complaint_about(-std::numeric_limits<double>::infinity()), HasSubstr(named));
    } else {
      EXPECT_THAT(complaint_about(range.min - 3), HasSubstr(named));  // the default may lie below the range
    }
    EXPECT_THAT(complaint(argument.name, ""), HasSubstr(named));
  }
  EXPECT_GT(numbers, 30);
}

TEST(Settle, WordsAreChecked) {
  const auto refused = [](const std::string& name, const std::string& value) {
    TrainingArguments a = with(name, value);
    return error_of([&] { check(a); });
  };
  for (const char* name :
       {"lr_scheduler_type", "train_sampling_strategy", "logging_strategy", "eval_strategy", "save_strategy",
        "log_level", "include_num_input_tokens_seen", "language"}) {
    EXPECT_THAT(refused(name, ""), HasSubstr(name));
    EXPECT_THAT(refused(name, "xyzzy"), HasSubstr("xyzzy"));
  }
  EXPECT_THAT(refused("report_to", "xyzzy"), HasSubstr("--report_to xyzzy is not known"));
  EXPECT_THAT(refused("debug", "tpu_metrics_debug"), HasSubstr("--debug tpu_metrics_debug is not known"));
}

TEST(Settle, FoldersBelowTheHomeAndSwitchesOfOlderReleases) {
  TrainingArguments a;
  a.output_dir = "~/results";
  a.logging_dir = "~/logs";
  a.include_num_input_tokens_seen = "true";
  settle(a);
  EXPECT_THAT(a.output_dir, AllOf(testing::EndsWith("/results"), Not(HasSubstr("~"))));
  EXPECT_THAT(a.logging_dir, Not(HasSubstr("~")));
  EXPECT_EQ(a.include_num_input_tokens_seen, "all");
}

// A library's user sets fields without the parser.
TEST(Settle, FieldsThatAreNotFiniteAreRefused) {
  TrainingArguments a;
  a.learning_rate = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(error_of([&] { settle(a); }), HasSubstr("--learning_rate nan is out of range"));
  a = {};
  a.eval_steps = std::numeric_limits<double>::infinity();
  EXPECT_THAT(error_of([&] { settle(a); }), HasSubstr("--eval_steps inf"));
  a = {};
  a.output_dir = "";
  EXPECT_THAT(error_of([&] { settle(a); }), HasSubstr("--output_dir is empty"));
  a = {};
  a.optim = "adam";
  EXPECT_THAT(error_of([&] { settle(a); }), HasSubstr("--optim adam is not implemented"));
  for (const auto& [other, meant] : {std::pair{"adam", "adamw_torch"},
                                     {"adamw_hf", "adamw_torch"},
                                     {"adamw_torch_xla", "adamw_torch"},
                                     {"adamw_anyprecision", "adamw_torch"},
                                     {"rmsprop_bnb_32bit", "rmsprop"},
                                     {"SGD", "sgd"}}) {
    a.optim = other;
    const std::string error = error_of([&] { settle(a); });
    EXPECT_THAT(error.substr(error.find("adagrad")), HasSubstr(meant)) << error;  // the hint, not the list
  }
  a = {};
  a.lr_scheduler_kwargs = "{\"power\": 2}";
  EXPECT_THAT(error_of([&] { settle(a); }), HasSubstr("setting of linear, which has none"));
  a = {};
  a.ema_decay = 0.9, a.average_checkpoints = 3;
  EXPECT_THAT(error_of([&] { settle(a); }), HasSubstr("exclude each other"));
}

TEST(Settle, WhatOthersOverrideIsInTheLog) {
  const auto notes = [](const std::function<void(TrainingArguments&)>& edit) {
    return logged([&] {
      TrainingArguments a;
      edit(a);
      explain(a);
    });
  };
  EXPECT_EQ(notes([](TrainingArguments&) {}), "");
  EXPECT_THAT(notes([](TrainingArguments& a) { a.max_steps = 5, a.num_train_epochs = 2; }),
              HasSubstr("--num_train_epochs 2 has no effect: --max_steps 5"));
  EXPECT_THAT(notes([](TrainingArguments& a) { a.warmup_ratio = 0.1, a.warmup_steps = 20; }),
              HasSubstr("--warmup_steps 20 has no effect"));
  EXPECT_THAT(notes([](TrainingArguments& a) { a.eval_steps = 5; }),
              HasSubstr("--eval_steps 5 has no effect"));
  EXPECT_THAT(notes([](TrainingArguments& a) { a.save_strategy = "no", a.save_total_limit = 2; }),
              HasSubstr("--save_total_limit 2 has no effect"));
  EXPECT_THAT(notes([](TrainingArguments& a) { a.learning_rate = 2e5; }), HasSubstr("above 1"));
  EXPECT_EQ(notes([](TrainingArguments& a) { a.learning_rate = 2, a.optim = "sgd"; }), "");
  EXPECT_THAT(notes([](TrainingArguments& a) { a.adam_beta1 = 0.8, a.optim = "sgd"; }),
              HasSubstr("--adam_beta1 0.8 has no effect: --optim is sgd"));
  EXPECT_EQ(notes([](TrainingArguments& a) { a.adam_beta1 = 0.8, a.optim = "lion"; }), "");
  EXPECT_THAT(notes([](TrainingArguments& a) { a.swa_lr = 0.1; }), HasSubstr("--swa_lr 0.1 has no effect"));
  EXPECT_THAT(
      notes([](TrainingArguments& a) { a.warmup_steps = 5, a.lr_scheduler_type = "reduce_lr_on_plateau"; }),
      HasSubstr("warm-up has no effect with --lr_scheduler_type reduce_lr_on_plateau"));
}

}  // namespace
}  // namespace graft::train
