// The exception type of the library: an error message and a hint.
#pragma once
#include <stdexcept>
#include <string>

#include "graft/export.h"

namespace graft {

// Thrown by every part of the library, which never prints, exits or aborts. `what()` names the file, line,
// tensor or option. `hint()` tells how to fix it and may be empty. `main` prints both.
class GRAFT_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, std::string hint = "")
      : std::runtime_error(what), hint_(std::move(hint)) {}
  const std::string& hint() const { return hint_; }

 private:
  std::string hint_;
};

// A wrong option or argument: exit code 2 instead of 1.
class GRAFT_API UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace graft
