#include "tasks/token_windows.h"

#include <gmock/gmock.h>

#include "support/shared.h"

namespace graft::tasks {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// [CLS] and [SEP] (100, 101) around tokens 0..n-1.
Encoding text_of(int n) {
  Encoding e;
  const auto add = [&](int32_t id, bool special) {
    e.input_ids.push_back(id);
    e.token_type_ids.push_back(0);
    e.special_tokens_mask.push_back(special);
  };
  add(100, true);
  for (int i = 0; i < n; ++i) add(i, false);
  add(101, true);
  return e;
}

TEST(TokenWindows, OverlapByTheStride) {
  const Encoding e = text_of(10);
  const WindowedText text(e, 6, 2);  // 4 tokens a window
  ASSERT_EQ(text.windows().size(), 4u);
  std::vector<int32_t> ids, types;
  text.append_window(1, ids, types);
  EXPECT_THAT(ids, ElementsAre(100, 2, 3, 4, 5, 101));
  EXPECT_EQ(text.windows().back().end, 10);
  EXPECT_EQ(WindowedText(e, 12, 2).windows().size(), 1u);
  EXPECT_EQ(WindowedText(e, 0, 0).windows().size(), 1u);
  const Encoding nothing = text_of(0);
  EXPECT_EQ(WindowedText(nothing, 6, 2).windows().size(), 1u);
}

// Windows 0-3, 2-5, 4-7, 6-9: the ends of the text count as endless context.
TEST(TokenWindows, TheMostContextDecides) {
  const Encoding e = text_of(10);
  const WindowedText text(e, 6, 2);
  std::vector<size_t> windows;
  for (int32_t t = 0; t < 10; ++t) windows.push_back(text.best_window(t, t));
  EXPECT_THAT(windows, ElementsAre(0, 0, 0, 1, 1, 2, 2, 3, 3, 3));
  EXPECT_EQ(text.best_window(3, 4), 1u);  // a word of two tokens, which window 0 cuts
}

TEST(TokenWindows, AStrideLeavesRoom) {
  EXPECT_EQ(window_stride({}, 512, 2), 128);
  EXPECT_EQ(window_stride({}, 34, 2), 16);
  EXPECT_EQ(window_stride(7, 34, 2), 7);
  EXPECT_EQ(window_stride(7, 0, 2), 0);
  EXPECT_THAT(test::error_of([] { window_stride(32, 34, 2); }),
              testing::AllOf(HasSubstr("--stride 32 leaves no new token in windows of 32"),
                             HasSubstr("use --stride 31 or less")));
}

}  // namespace
}  // namespace graft::tasks
