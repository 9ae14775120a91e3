// The reference compiles patterns with Oniguruma, graft with PCRE2: where the same expression has another
// meaning, it is rewritten.
#pragma once
#include <string>

namespace graft::text {

// Rewrites: \w, \W, \b, \B, POSIX brackets and \p{...} names (Unicode classes), \h, \uHHHH, nested classes
// and intersections, (?m). The result needs PCRE2_MULTILINE, because ^ and $ match at every line. A malformed
// expression stays malformed, so that PCRE2 reports it.
std::string to_pcre2(const std::string& expression);

}  // namespace graft::text
