// The one exception type of the library: what went wrong, and what to do about it.
#pragma once
#include <stdexcept>
#include <string>

namespace graft {

// Thrown by every part of the library; nothing in it prints, exits or aborts. `what()` names the file, line,
// tensor or option; `hint()` says how to mend it (may be empty). `main` prints both.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, std::string hint = "")
      : std::runtime_error(what), hint_(std::move(hint)) {}
  const std::string& hint() const { return hint_; }

 private:
  std::string hint_;
};

// A wrong option or argument: the program ends with exit code 2 where other errors end with 1.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace graft
