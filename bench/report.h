// How a bench says what it measured: a line for a person, or one json object a line (name, value, unit,
// limit, ratio, and dtype where the number belongs to one).
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace graft::bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}

class Report {
 public:
  Report(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) json_ |= std::strcmp(argv[i], "--json") == 0;
  }
  // The same, saying for which type of number each line holds.
  Report with_dtype(const std::string& dtype) const {
    Report r = *this;
    r.dtype_ = dtype;
    return r;
  }
  // `limit` 0: nothing to compare with. `ratio` is value / limit.
  void line(const std::string& name, double value, const std::string& unit, double limit = 0) const {
    const double ratio = limit > 0 ? value / limit : 0;
    if (json_) {
      std::printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"limit\":%.6g,\"ratio\":%.4f%s}\n",
                  name.c_str(), value, unit.c_str(), limit, ratio,
                  dtype_.empty() ? "" : (",\"dtype\":\"" + dtype_ + "\"").c_str());
    } else if (limit > 0) {
      std::printf("%-58s %-5s %10.4g %-12s limit %10.4g  ratio %.3f\n", name.c_str(), dtype_.c_str(), value,
                  unit.c_str(), limit, ratio);
    } else {
      std::printf("%-58s %-5s %10.4g %s\n", name.c_str(), dtype_.c_str(), value, unit.c_str());
    }
    std::fflush(stdout);
  }

 private:
  bool json_ = false;
  std::string dtype_;
};

}  // namespace graft::bench
