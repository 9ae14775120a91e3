// Declares parameters under their checkpoint names: scope / "attention.self.query".
#pragma once
#include <string>
#include <vector>

#include "engine/ops.h"

namespace graft::models {

class Scope {
 public:
  Scope(engine::ParameterStore& store, std::string name) : store_(store), name_(std::move(name)) {}

  Scope operator/(const std::string& part) const {
    return {store_, name_.empty() ? part : name_ + "." + part};
  }
  const std::string& name() const { return name_; }

  // weight [out, in] and, with `bias`, bias [out] of `part` ("" = this scope itself).
  engine::Linear linear(const std::string& part, int64_t out, int64_t in, bool bias = true) const;
  // Several adjacent layers of one shape that form one layer.
  engine::Linear linear_group(const std::vector<std::string>& parts, int64_t out, int64_t in,
                              bool bias = true) const;
  engine::Norm norm(const std::string& part, int64_t size, double eps, bool bias = true) const;
  // weight [rows, cols]; row-sparse where no matrix product reads it.
  engine::Parameter* embedding(const std::string& part, int64_t rows, int64_t cols, bool row_sparse,
                               int64_t padding_row = -1) const;
  engine::Parameter* bias(const std::string& part, int64_t size) const;  // the parameter `part` itself

 private:
  std::string join(const std::string& part) const {
    return name_.empty() ? part : part.empty() ? name_ : name_ + "." + part;
  }
  engine::ParameterStore& store_;
  std::string name_;
};

// Parts [first, first + count) of a group as one layer.
engine::Linear part_of(engine::ParameterStore& store, const engine::Linear& group, int first, int count);

}  // namespace graft::models
