// A reader of Python pickles (protocol 2 and up) that executes nothing. It accepts the opcodes that
// torch.save writes for a state dict and the names of a fixed table. Calls are stored as data. Any other name
// or opcode is an error.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace graft::hub {

enum class PickleKind : uint8_t {
  none,
  boolean,
  integer,
  wide_integer,
  floating,
  text,
  tuple,
  list,
  dict,
  global,
  call,
  persistent
};

// The names that a state dict may refer to.
enum class PickleGlobal : uint8_t {
  ordered_dict,
  rebuild_tensor,
  rebuild_tensor_v2,
  rebuild_parameter,
  double_storage,
  float_storage,
  half_storage,
  bfloat16_storage,
  long_storage,
  int_storage,
  short_storage,
  char_storage,
  byte_storage,
  bool_storage
};

// Values refer to each other by index (see Pickle::operator[]): cycles and deep nesting are harmless.
struct PickleValue {
  PickleKind kind = PickleKind::none;
  PickleGlobal global{};        // global; call: the callee
  int64_t integer = 0;          // integer, boolean
  std::string_view text;        // text, bytes; wide_integer: little-endian bytes. Points into the pickle
  std::vector<uint32_t> items;  // tuple, list; dict: key, value, ...; call: the arguments; persistent: the id
};

// One pickle, read from the front of `bytes` (which must outlive it) up to its STOP.
class Pickle {
 public:
  Pickle(std::span<const std::byte> bytes, const std::string& origin);

  size_t size() const { return at_; }  // bytes read, STOP included
  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& operator[](uint32_t index) const { return values_[index]; }
  const std::vector<PickleValue>& values() const { return values_; }

 private:
  void run();
  bool step(uint8_t opcode);  // false after STOP
  bool step_constant(uint8_t opcode);
  bool step_memo(uint8_t opcode);
  void step_container(uint8_t opcode);

  uint64_t read_number(size_t bytes);
  std::string_view read_text(uint64_t size);
  std::string_view read_line();

  uint32_t push(PickleValue value);
  void push_index(uint32_t index);
  uint32_t pop();
  std::vector<uint32_t> pop_to_mark();
  PickleValue& top(PickleKind kind);
  void push_integer(std::string_view little_endian);
  void push_global(std::string_view module, std::string_view name);
  void push_stack_global();
  void remember(uint64_t slot);
  void recall(uint64_t slot);
  void call();
  void build();
  [[noreturn]] void refuse(const std::string& what) const;
  [[noreturn]] void refuse_global(std::string_view module, std::string_view name) const;

  std::span<const std::byte> bytes_;
  const std::string& origin_;
  size_t at_ = 0, copied_ = 0;
  uint32_t root_ = 0;
  std::vector<PickleValue> values_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, uint32_t> memo_;
};

}  // namespace graft::hub
