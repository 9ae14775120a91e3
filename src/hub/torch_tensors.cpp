#include "hub/torch_tensors.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/utf8.h"
#include "hub/printable.h"

namespace graft::hub {

namespace {

constexpr size_t kMaxRank = 64;  // torch's limit
// Strides of zero repeat elements, so that a small file can describe terabytes. Tensors that are copied may
// take this much memory more than the storages.
constexpr uint64_t kExpandFree = uint64_t{64} << 20;
constexpr const char* kStateDictOnly =
    "save the state dict alone, in Python: torch.save(model.state_dict(), ...), or save_pretrained";

DType storage_dtype(PickleGlobal storage) {
  switch (storage) {
    case PickleGlobal::double_storage:
      return DType::f64;
    case PickleGlobal::half_storage:
      return DType::f16;
    case PickleGlobal::bfloat16_storage:
      return DType::bf16;
    case PickleGlobal::long_storage:
      return DType::i64;
    case PickleGlobal::int_storage:
      return DType::i32;
    case PickleGlobal::short_storage:
      return DType::i16;
    case PickleGlobal::char_storage:
      return DType::i8;
    case PickleGlobal::byte_storage:
      return DType::u8;
    case PickleGlobal::bool_storage:
      return DType::boolean;
    default:
      return DType::f32;
  }
}

bool is_contiguous(const std::vector<int64_t>& shape, const std::vector<int64_t>& stride) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return true;
  int64_t expected = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1 && stride[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

// Copies the strided elements at `from` in row-major order.
void copy_strided(const std::byte* from, const std::vector<int64_t>& shape,
                  const std::vector<int64_t>& stride, size_t element, std::vector<std::byte>& out) {
  std::vector<int64_t> at(shape.size(), 0);
  uint64_t offset = 0;  // unsigned: a dimension of size 1 may have any stride; the wrap-around is undone
  for (size_t done = 0; done < out.size(); done += element) {
    std::memcpy(out.data() + done, from + offset * element, element);
    for (size_t d = shape.size(); d-- > 0;) {
      offset += static_cast<uint64_t>(stride[d]);
      if (++at[d] < shape[d]) break;
      offset -= static_cast<uint64_t>(stride[d]) * static_cast<uint64_t>(shape[d]);
      at[d] = 0;
    }
  }
}

}  // namespace

TorchTensors::TorchTensors(const Pickle& pickle, const std::string& origin)
    : pickle_(pickle), origin_(origin) {
  for (const PickleValue& value : pickle.values())
    if (value.kind == PickleKind::persistent) add_storage(value);
  const PickleValue& root = pickle.root();
  if (root.kind != PickleKind::dict)
    fail_with(kStateDictOnly, "{}: does not hold a state dict (a dict of names to tensors)", origin);
  for (size_t i = 0; i + 1 < root.items.size(); i += 2) add_entry(root.items[i], root.items[i + 1]);
}

void TorchTensors::refuse(const std::string& name, const std::string& what) const {
  fail_with("the file is damaged: fetch or save it again", "{}: tensor '{}' {}", origin_, printable(name),
            what);
}

// A storage's persistent id: ("storage", class, key, device, number of elements[, view]).
void TorchTensors::add_storage(const PickleValue& persistent) {
  const PickleValue& id = pickle_[persistent.items[0]];
  if (id.kind != PickleKind::tuple || id.items.empty() || pickle_[id.items[0]].text != "storage") {
    const bool named = id.kind == PickleKind::tuple && !id.items.empty();
    fail_with(kStateDictOnly, "{}: its pickle asks for a '{}' from outside; refused, nothing was executed",
              origin_, named ? printable(pickle_[id.items[0]].text) : "value");
  }
  if (id.items.size() < 5 || id.items.size() > 6 || pickle_[id.items[1]].kind != PickleKind::global ||
      pickle_[id.items[1]].global < PickleGlobal::double_storage ||
      pickle_[id.items[2]].kind != PickleKind::text || pickle_[id.items[4]].kind != PickleKind::integer ||
      pickle_[id.items[4]].integer < 0) {
    fail("{}: the description of a storage in its pickle is not one of torch.save", origin_);
  }
  const std::string key(pickle_[id.items[2]].text);
  const TorchStorage storage{storage_dtype(pickle_[id.items[1]].global),
                             static_cast<uint64_t>(pickle_[id.items[4]].integer)};
  if (storage.num_elements > INT64_MAX / 8)
    fail("{}: storage '{}' is larger than any file", origin_, printable(key));
  const auto [at, fresh] = storages_.emplace(key, storage);
  if (!fresh && (at->second.dtype != storage.dtype || at->second.num_elements != storage.num_elements))
    fail("{}: storage '{}' is described in two ways", origin_, printable(key));
}

void TorchTensors::add_entry(uint32_t key, uint32_t value) {
  if (pickle_[key].kind != PickleKind::text ||
      utf8::find_invalid(pickle_[key].text) != std::string_view::npos)
    fail_with(kStateDictOnly, "{}: a key of its dict is not a string", origin_);
  const std::string name(pickle_[key].text);
  const PickleValue* call = &pickle_[value];
  if (call->kind == PickleKind::dict) {
    fail_with(kStateDictOnly,
              "{}: is not a flat state dict: '{}' is itself a dict, as in a training checkpoint", origin_,
              printable(name));
  }
  if (call->kind != PickleKind::call) {  // a number or text among the tensors: other state of a module
    log_warning("{}: '{}' is not a tensor and is ignored", origin_, printable(name));
    return;
  }
  if (call->global == PickleGlobal::rebuild_parameter) {
    if (call->items.empty()) refuse(name, "is described in a way that torch.save does not");
    call = &pickle_[call->items[0]];
  }
  specs_.push_back(read_tensor(name, *call));
}

// _rebuild_tensor(storage, offset, shape, stride), _rebuild_tensor_v2(the same, requires_grad, hooks[,
// metadata]).
TorchTensors::Spec TorchTensors::read_tensor(const std::string& name, const PickleValue& call) const {
  const bool known = call.kind == PickleKind::call && (call.global == PickleGlobal::rebuild_tensor ||
                                                       call.global == PickleGlobal::rebuild_tensor_v2);
  if (!known || call.items.size() < 4 || pickle_[call.items[0]].kind != PickleKind::persistent)
    refuse(name, "is described in a way that torch.save does not");
  Spec spec;
  spec.name = name;
  read_storage_of(spec, pickle_[call.items[0]]);
  spec.offset = count(name, call.items[1]);
  spec.shape = counts(name, call.items[2]);
  spec.stride = counts(name, call.items[3]);
  check_bounds(spec);
  return spec;
}

void TorchTensors::read_storage_of(Spec& spec, const PickleValue& persistent) const {
  const std::vector<uint32_t>& id = pickle_[persistent.items[0]].items;
  spec.key = pickle_[id[2]].text;
  const TorchStorage& storage = storages_.at(spec.key);
  spec.dtype = storage.dtype;
  spec.end = storage.num_elements;
  if (id.size() < 6 || pickle_[id[5]].kind == PickleKind::none) return;
  // torch before 0.4 wrote views of storages: (key, offset, number of elements).
  const std::vector<uint32_t>& view = pickle_[id[5]].items;
  if (view.size() != 3) refuse(spec.name, "is described in a way that torch.save does not");
  spec.begin = count(spec.name, view[1]);
  const uint64_t size = count(spec.name, view[2]);
  if (spec.begin > spec.end || size > spec.end - spec.begin) refuse(spec.name, "reaches beyond its storage");
  spec.end = spec.begin + size;
}

uint64_t TorchTensors::count(const std::string& name, uint32_t value) const {
  if (pickle_[value].kind != PickleKind::integer || pickle_[value].integer < 0)
    refuse(name, "has an offset, shape or stride that is not made of counts");
  return static_cast<uint64_t>(pickle_[value].integer);
}

std::vector<int64_t> TorchTensors::counts(const std::string& name, uint32_t tuple) const {
  const PickleValue& value = pickle_[tuple];
  if (value.kind != PickleKind::tuple || value.items.size() > kMaxRank)
    refuse(name, "has a shape or stride that is not a tuple of at most 64 counts");
  std::vector<int64_t> out;
  for (const uint32_t item : value.items) out.push_back(static_cast<int64_t>(count(name, item)));
  return out;
}

// Checks that the last element of the strides is inside the storage.
void TorchTensors::check_bounds(const Spec& spec) const {
  if (spec.shape.size() != spec.stride.size())
    refuse(spec.name, "has a shape and a stride of different lengths");
  uint64_t elements = 1, last = spec.offset;
  bool overflow = false;
  for (size_t d = 0; d < spec.shape.size(); ++d) {
    const auto size = static_cast<uint64_t>(spec.shape[d]), stride = static_cast<uint64_t>(spec.stride[d]);
    uint64_t reach = 0;
    overflow |= __builtin_mul_overflow(elements, size, &elements);
    overflow |= size > 0 && __builtin_mul_overflow(size - 1, stride, &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
  }
  if (overflow || elements > INT64_MAX / 8) refuse(spec.name, "has a shape that no file can hold");
  if (elements > 0 ? last >= spec.end - spec.begin : spec.offset > spec.end - spec.begin)
    refuse(spec.name, "reaches beyond its storage");
}

StateDict TorchTensors::state_dict(
    const std::map<std::string, std::span<const std::byte>, std::less<>>& storages) const {
  uint64_t budget = kExpandFree;
  for (const auto& [key, storage] : storages_) {
    const auto at = storages.find(key);
    if (at == storages.end()) fail("{}: storage '{}' is not in the file", origin_, printable(key));
    if (at->second.size() != storage.num_bytes()) {
      fail_with("the file is damaged: fetch or save it again",
                "{}: storage '{}' has {} bytes, but {} elements of {} in its pickle", origin_, printable(key),
                at->second.size(), storage.num_elements, dtype_name(storage.dtype));
    }
    budget += at->second.size();
  }
  StateDict out;
  for (const Spec& spec : specs_) {
    TensorView view{spec.name, spec.dtype, spec.shape, nullptr, 0, origin_};
    const size_t element = dtype_size(spec.dtype);
    view.num_bytes = static_cast<size_t>(view.num_elements()) * element;
    view.data = storages.find(spec.key)->second.data() + (spec.begin + spec.offset) * element;
    if (!is_contiguous(spec.shape, spec.stride)) {
      if (view.num_bytes > budget)
        refuse(spec.name, fmt::format("repeats its storage to {} bytes", view.num_bytes));
      budget -= view.num_bytes;
      auto copy = std::make_shared<std::vector<std::byte>>(view.num_bytes);
      copy_strided(view.data, spec.shape, spec.stride, element, *copy);
      view.data = copy->data();
      out.keep(std::move(copy));
    }
    out.add(std::move(view));
  }
  return out;
}

}  // namespace graft::hub
