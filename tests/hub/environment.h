// Environment variables for the length of a test.
#pragma once
#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace graft::hub {

class Environment {
 public:
  ~Environment() {
    for (const auto& [name, value] : former_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), 1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }
  void set(const std::string& name, const std::string& value) {
    keep(name);
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  void unset(const std::string& name) {
    keep(name);
    ::unsetenv(name.c_str());
  }
  // No variable of the hub is set, and the home folder is `home`.
  void clear(const std::string& home) {
    for (const char* name :
         {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_TOKEN",
          "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_OFFLINE",
          "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"})
      unset(name);
    set("HOME", home);
  }

 private:
  void keep(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    former_.emplace(name, value ? std::optional<std::string>(value) : std::nullopt);
  }
  std::map<std::string, std::optional<std::string>> former_;
};

}  // namespace graft::hub
