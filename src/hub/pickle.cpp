#include "hub/pickle.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "hub/printable.h"

namespace graft::hub {

namespace {

// A state dict of 100,000 tensors has about 1.5 million values and 20 MB.
constexpr size_t kMaxBytes = size_t{256} << 20, kMaxValues = 4'000'000, kMaxStack = 1'000'000,
                 kMaxArguments = 16;
constexpr uint64_t kMaxText = 1 << 20;

constexpr struct {
  const char *module, *name;
  PickleGlobal global;
} kGlobals[] = {
    {"collections", "OrderedDict", PickleGlobal::ordered_dict},
    {"torch._utils", "_rebuild_tensor", PickleGlobal::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v2", PickleGlobal::rebuild_tensor_v2},
    {"torch._utils", "_rebuild_parameter", PickleGlobal::rebuild_parameter},
    {"torch", "DoubleStorage", PickleGlobal::double_storage},
    {"torch", "FloatStorage", PickleGlobal::float_storage},
    {"torch", "HalfStorage", PickleGlobal::half_storage},
    {"torch", "BFloat16Storage", PickleGlobal::bfloat16_storage},
    {"torch", "LongStorage", PickleGlobal::long_storage},
    {"torch", "IntStorage", PickleGlobal::int_storage},
    {"torch", "ShortStorage", PickleGlobal::short_storage},
    {"torch", "CharStorage", PickleGlobal::char_storage},
    {"torch", "ByteStorage", PickleGlobal::byte_storage},
    {"torch", "BoolStorage", PickleGlobal::bool_storage},
};

// Opcodes by the names of Python's pickletools.
enum Opcode : uint8_t {
  MARK = '(',
  STOP = '.',
  POP = '0',
  POP_MARK = '1',
  DUP = '2',
  BINBYTES = 'B',
  SHORT_BINBYTES = 'C',
  BINFLOAT = 'G',
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  NONE = 'N',
  BINPERSID = 'Q',
  REDUCE = 'R',
  BINSTRING = 'T',
  SHORT_BINSTRING = 'U',
  BINUNICODE = 'X',
  EMPTY_LIST = ']',
  APPEND = 'a',
  BUILD = 'b',
  GLOBAL = 'c',
  DICT = 'd',
  APPENDS = 'e',
  BINGET = 'h',
  INST = 'i',
  LONG_BINGET = 'j',
  LIST = 'l',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  TUPLE = 't',
  EMPTY_TUPLE = ')',
  SETITEMS = 'u',
  EMPTY_DICT = '}',
  PROTO = 0x80,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8a,
  LONG4 = 0x8b,
  SHORT_BINUNICODE = 0x8c,
  BINUNICODE8 = 0x8d,
  STACK_GLOBAL = 0x93,
  MEMOIZE = 0x94,
  FRAME = 0x95
};

PickleValue value_of(PickleKind kind, int64_t integer = 0) {
  PickleValue value;
  value.kind = kind;
  value.integer = integer;
  return value;
}

PickleValue value_of(PickleKind kind, std::vector<uint32_t> items) {
  PickleValue value;
  value.kind = kind;
  value.items = std::move(items);
  return value;
}

PickleValue text_of(std::string_view text) {
  PickleValue value;
  value.kind = PickleKind::text;
  value.text = text;
  return value;
}

}  // namespace

Pickle::Pickle(std::span<const std::byte> bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {
  run();
}

void Pickle::refuse(const std::string& what) const {
  fail_with("the file is damaged or no checkpoint: fetch or save it again",
            "{}: its pickle {} (byte {}); refused", origin_, what, at_);
}

void Pickle::refuse_global(std::string_view module, std::string_view name) const {
  fail_with(
      "weights do not need it, and a program that unpickles this file would run it. If you trust where "
      "it "
      "comes from, save its state dict as safetensors",
      "{}: its pickle asks for {}.{}; refused, nothing was executed", origin_, printable(module),
      printable(name));
}

void Pickle::run() {
  while (step(static_cast<uint8_t>(read_number(1)))) {
    if (at_ > kMaxBytes) refuse("has no end within 256 MiB");
  }
}

uint64_t Pickle::read_number(size_t bytes) {
  if (bytes_.size() - at_ < bytes) refuse("is cut short");
  uint64_t value = 0;
  std::memcpy(&value, bytes_.data() + at_, bytes);
  at_ += bytes;
  return value;
}

std::string_view Pickle::read_text(uint64_t size) {
  if (size > bytes_.size() - at_) refuse("is cut short");
  if (size > kMaxText) refuse(fmt::format("holds a text of {} bytes", size));
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
  at_ += size;
  return text;
}

std::string_view Pickle::read_line() {
  const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_,
                              std::min<size_t>(bytes_.size() - at_, kMaxText));
  const size_t end = rest.find('\n');
  if (end == std::string_view::npos) refuse("is cut short");
  at_ += end + 1;
  return rest.substr(0, end);
}

uint32_t Pickle::push(PickleValue value) {
  if (values_.size() >= kMaxValues) refuse("holds too many values");
  values_.push_back(std::move(value));
  const uint32_t index = static_cast<uint32_t>(values_.size() - 1);
  push_index(index);
  return index;
}

void Pickle::push_index(uint32_t index) {
  if (stack_.size() >= kMaxStack) refuse("needs too large a stack");
  stack_.push_back(index);
}

uint32_t Pickle::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("takes from an empty stack");
  const uint32_t index = stack_.back();
  stack_.pop_back();
  return index;
}

std::vector<uint32_t> Pickle::pop_to_mark() {
  if (marks_.empty()) refuse("lacks a mark");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<uint32_t> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

// The value on top of the stack, without removing it.
PickleValue& Pickle::top(PickleKind kind) {
  const uint32_t index = pop();
  stack_.push_back(index);
  if (values_[index].kind != kind) refuse("adds to something that is not a container");
  return values_[index];
}

bool Pickle::step(uint8_t opcode) {
  if (opcode == STOP) {
    root_ = pop();
    return false;
  }
  if (!step_constant(opcode) && !step_memo(opcode)) step_container(opcode);
  return true;
}

bool Pickle::step_constant(uint8_t opcode) {
  switch (opcode) {
    case NONE:
      push(value_of(PickleKind::none));
      break;
    case NEWTRUE:
      push(value_of(PickleKind::boolean, 1));
      break;
    case NEWFALSE:
      push(value_of(PickleKind::boolean, 0));
      break;
    case BININT:
      push(value_of(PickleKind::integer, static_cast<int32_t>(read_number(4))));
      break;
    case BININT1:
      push(value_of(PickleKind::integer, static_cast<int64_t>(read_number(1))));
      break;
    case BININT2:
      push(value_of(PickleKind::integer, static_cast<int64_t>(read_number(2))));
      break;
    case LONG1:
      push_integer(read_text(read_number(1)));
      break;
    case LONG4:
      push_integer(read_text(read_number(4)));
      break;
    case BINFLOAT:
      read_number(8), push(value_of(PickleKind::floating));
      break;  // its value is not needed for a tensor
    case SHORT_BINSTRING:
    case SHORT_BINBYTES:
    case SHORT_BINUNICODE:
      push(text_of(read_text(read_number(1))));
      break;
    case BINSTRING:
    case BINBYTES:
    case BINUNICODE:
      push(text_of(read_text(read_number(4))));
      break;
    case BINUNICODE8:
      push(text_of(read_text(read_number(8))));
      break;
    case GLOBAL: {
      const std::string_view module = read_line();
      push_global(module, read_line());
      break;
    }
    case STACK_GLOBAL:
      push_stack_global();
      break;
    case INST: {  // a class by name, and an instance of it
      const std::string_view module = read_line();
      refuse_global(module, read_line());
    }
    default:
      return false;
  }
  return true;
}

bool Pickle::step_memo(uint8_t opcode) {
  switch (opcode) {
    case PROTO:
      if (read_number(1) > 5) refuse("is of a protocol beyond 5");
      break;
    case FRAME:
      read_number(8);
      break;
    case BINPUT:
      remember(read_number(1));
      break;
    case LONG_BINPUT:
      remember(read_number(4));
      break;
    case MEMOIZE:
      remember(memo_.size());
      break;
    case BINGET:
      recall(read_number(1));
      break;
    case LONG_BINGET:
      recall(read_number(4));
      break;
    case MARK:
      if (marks_.size() >= kMaxStack) refuse("needs too large a stack");
      marks_.push_back(stack_.size());
      break;
    case POP:
      pop();
      break;
    case POP_MARK:
      pop_to_mark();
      break;
    case DUP: {
      const uint32_t index = pop();
      stack_.push_back(index);
      push_index(index);
      break;
    }
    default:
      return false;
  }
  return true;
}

void Pickle::step_container(uint8_t opcode) {
  switch (opcode) {
    case EMPTY_TUPLE:
      push(value_of(PickleKind::tuple));
      break;
    case EMPTY_LIST:
      push(value_of(PickleKind::list));
      break;
    case EMPTY_DICT:
      push(value_of(PickleKind::dict));
      break;
    case TUPLE:
      push(value_of(PickleKind::tuple, pop_to_mark()));
      break;
    case LIST:
      push(value_of(PickleKind::list, pop_to_mark()));
      break;
    case TUPLE1:
    case TUPLE2:
    case TUPLE3: {
      std::vector<uint32_t> items(opcode - TUPLE1 + 1u);
      for (size_t i = items.size(); i-- > 0;) items[i] = pop();
      push(value_of(PickleKind::tuple, std::move(items)));
      break;
    }
    case APPEND: {
      const uint32_t item = pop();
      top(PickleKind::list).items.push_back(item);
      break;
    }
    case SETITEM: {
      const uint32_t value = pop(), key = pop();
      std::vector<uint32_t>& items = top(PickleKind::dict).items;
      items.push_back(key);
      items.push_back(value);
      break;
    }
    case APPENDS:
    case SETITEMS:
    case DICT: {
      const std::vector<uint32_t> added = pop_to_mark();
      if (opcode != APPENDS && added.size() % 2 != 0) refuse("has a key without a value");
      if (opcode == DICT) push(value_of(PickleKind::dict));
      std::vector<uint32_t>& items = top(opcode == APPENDS ? PickleKind::list : PickleKind::dict).items;
      items.insert(items.end(), added.begin(), added.end());
      break;
    }
    case BINPERSID: {
      const uint32_t id = pop();
      push(value_of(PickleKind::persistent, std::vector<uint32_t>{id}));
      break;
    }
    case REDUCE:
      call();
      break;
    case BUILD:
      build();
      break;
    default:
      --at_, refuse(fmt::format("uses opcode 0x{:02x}, which no state dict needs", opcode));
  }
}

void Pickle::push_integer(std::string_view bytes) {
  PickleValue value;
  if (bytes.size() > 8) {
    value.kind = PickleKind::wide_integer;
    value.text = bytes;
  } else {
    uint64_t bits = bytes.empty() || static_cast<signed char>(bytes.back()) >= 0 ? 0 : ~uint64_t{0};
    std::memcpy(&bits, bytes.data(), bytes.size());
    value.kind = PickleKind::integer;
    value.integer = static_cast<int64_t>(bits);
  }
  push(std::move(value));
}

void Pickle::push_global(std::string_view module, std::string_view name) {
  for (const auto& known : kGlobals) {
    if (module != known.module || name != known.name) continue;
    PickleValue value;
    value.kind = PickleKind::global;
    value.global = known.global;
    push(std::move(value));
    return;
  }
  refuse_global(module, name);
}

void Pickle::push_stack_global() {
  const PickleValue &name = values_[pop()], &module = values_[pop()];
  if (name.kind != PickleKind::text || module.kind != PickleKind::text)
    refuse("asks for a name that is not text");
  push_global(module.text, name.text);
}

void Pickle::remember(uint64_t slot) {
  const uint32_t index = pop();
  stack_.push_back(index);
  memo_[slot] = index;
  if (memo_.size() > kMaxValues) refuse("remembers too many values");
}

void Pickle::recall(uint64_t slot) {
  const auto at = memo_.find(slot);
  if (at == memo_.end()) refuse("recalls a value that it never stored");
  push_index(at->second);
}

// Calls are stored as data; OrderedDict(...) becomes its dict.
void Pickle::call() {
  const uint32_t args = pop(), callee = pop();
  if (values_[callee].kind != PickleKind::global || values_[args].kind != PickleKind::tuple)
    refuse("calls something that is not a function");
  const PickleGlobal function = values_[callee].global;
  PickleValue result;
  if (function == PickleGlobal::ordered_dict) {
    result.kind = PickleKind::dict;
    if (!values_[args].items.empty()) {  // OrderedDict([[key, value], ...]), as Python 2 wrote it
      const std::vector<uint32_t>& pairs = values_[values_[args].items[0]].items;
      copied_ += pairs.size();  // one list may be passed to many calls
      if (copied_ > kMaxValues) refuse("holds too many values");
      for (const uint32_t pair : pairs) {
        const std::vector<uint32_t>& both = values_[pair].items;
        if (both.size() != 2) refuse("makes an OrderedDict of something other than pairs");
        result.items.insert(result.items.end(), both.begin(), both.end());
      }
    }
  } else if (function <= PickleGlobal::rebuild_parameter) {
    if (values_[args].items.size() > kMaxArguments) refuse("passes too many arguments");
    result.kind = PickleKind::call;
    result.global = function;
    result.items = values_[args].items;
  } else {
    refuse("calls a storage class");
  }
  push(std::move(result));
}

// Only an OrderedDict has state: the version numbers of the modules, which do not affect tensors.
void Pickle::build() {
  pop();
  top(PickleKind::dict);
}

}  // namespace graft::hub
