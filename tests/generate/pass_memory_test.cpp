// A generation that does not fit the memory of the process is refused before it starts, with the numbers.
#include "generate/pass_memory.h"

#include <sys/resource.h>

#include "generate/causal_decoder.h"
#include "models/model_case.h"
#include "support/sanitized.h"

namespace graft::generate {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t kMega = 1 << 20;

// `left` bytes of 1 GB.
std::vector<MemoryLimit> limits_of(uint64_t left) {
  return {{"a test's limit", uint64_t{1} << 30, (uint64_t{1} << 30) - left}};
}

TEST(PassMemory, KeysAndValuesThatDoNotFitAreRefusedWithTheNumbers) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Model model = load_model(golden / "gpt2/causal_lm");
  PassMemory memory(model.state(), limits_of(100 * kMega));
  memory.expect_cache(60 * kMega);
  EXPECT_THAT(error_of([&] { memory.expect_cache(60 * kMega); }),
              AllOf(HasSubstr("the generation needs 125.8 MB beside the model"),
                    HasSubstr("of a test's limit (1.07 GB) 104.9 MB are left: keys and values 125.8 MB"),
                    HasSubstr("max_new_tokens")));
}

TEST(PassMemory, APassCountsBesideTheCache) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Model model = load_model(golden / "gpt2/causal_lm");
  const auto pass = [](engine::Tape& tape) { return tape.constant(tape.push(1 << 10, 20 << 10)); };  // 80 MB
  PassMemory without(model.state(), limits_of(150 * kMega));
  EXPECT_NO_THROW(without.plan(1 << 10, 1, pass));
  PassMemory with(model.state(), limits_of(150 * kMega));
  with.expect_cache(60 * kMega);
  PassMemory beside(model.state(), with);
  for (PassMemory* memory : {&with, &beside})
    EXPECT_THAT(error_of([&] { memory->plan(1 << 10, 1, pass); }),
                HasSubstr("keys and values 62.9 MB, activations 83.9 MB"));
}

// With and without a cache: the largest pass counts, not the first.
TEST(PassMemory, ADecoderIsRefusedBeforeItsFirstToken) {
  if (kSanitized) GTEST_SKIP() << "sanitizers reserve addresses without limit";
  GRAFT_SHARED_PATH(golden, "golden");
  const auto generate = [&] {
    const Model model = load_model(golden / "gpt2/causal_lm");
    std::string text;
    for (const bool use_cache : {true, false}) {
      text += error_of([&] {
        const auto decoder = make_decoder(model.state(), 4000, 4000, use_cache);
        decoder->start({{5, 6, 7}});
      });
    }
    return text;
  };
  EXPECT_EXIT(
      {
        struct rlimit limit {};
        ::getrlimit(RLIMIT_AS, &limit);
        limit.rlim_cur = rlim_t{4} << 30;
        ::setrlimit(RLIMIT_AS, &limit);
        std::fprintf(stderr, "%s", generate().c_str());
        std::_Exit(0);
      },
      testing::ExitedWithCode(0), "keys and values.*the generation needs.*activations");
}

}  // namespace
}  // namespace graft::generate
