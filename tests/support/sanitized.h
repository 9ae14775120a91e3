// Is this a build with a sanitizer? Tests of memory limits, resident memory and forked threads are not for
// those: they reserve addresses and memory of their own, and the thread sanitizer starts no threads in a
// child.
#pragma once

namespace graft::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace graft::test
