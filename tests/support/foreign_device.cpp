#include "support/foreign_device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <type_traits>

#include "engine/kernels.h"
#include "engine/parameters.h"

namespace graft::test {
namespace {

using namespace engine;

struct Memory {
  std::mutex mutex;
  std::map<const std::byte*, size_t> regions;  // begin and bytes, whole pages
  int open = 0;                                // kernels and copies that run
  ForeignCounts counts;

  void protect(int access) {
    for (const auto& [begin, bytes] : regions) ::mprotect(const_cast<std::byte*>(begin), bytes, access);
  }
};

Memory& memory() {
  static Memory it;
  return it;
}

// The memory can be accessed while one of these lives.
struct Open {
  Open() {
    const std::lock_guard lock(memory().mutex);
    if (memory().open++ == 0) memory().protect(PROT_READ | PROT_WRITE);
  }
  ~Open() {
    const std::lock_guard lock(memory().mutex);
    if (--memory().open == 0) memory().protect(PROT_NONE);
  }
};

size_t pages(size_t bytes) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

bool is_foreign(const void* p) {
  const auto* at = static_cast<const std::byte*>(p);
  const std::lock_guard lock(memory().mutex);
  auto it = memory().regions.upper_bound(at);
  return it != memory().regions.begin() && (--it, at < it->first + it->second);
}

// --- what the arguments of a kernel point to

using Pointers = std::vector<const void*>;
struct Pointing {
  static void list(Pointers& out, const void* p) { out.push_back(p); }
  static void list(Pointers& out, const Tensor& t) { out.push_back(t.data); }
  static void list(Pointers& out, const Rows& r) {
    out.insert(out.end(), {r.cu_seqlens, r.position, r.example, r.sequence});
  }
  template <class... Parts>
  static void list_all(Pointers& out, const Parts&... parts) {
    (list(out, parts), ...);
  }
  static void list(Pointers& out, const LinearArgs& a) {
    list_all(out, a.x, a.w, a.y, a.pre, a.y_bf16, a.bias);
  }
  static void list(Pointers& out, const LinearBackwardArgs& a) {
    list_all(out, a.x, a.w, a.dy, a.dx, a.dw, a.dy_bf16, a.pre, a.db);
  }
  static void list(Pointers& out, const ResidualNormArgs& a) {
    list_all(out, a.x, a.residual, a.z, a.y, a.y_bf16, a.gamma, a.beta, a.mean, a.rstd, a.rows);
  }
  static void list(Pointers& out, const ResidualNormBackwardArgs& a) {
    list_all(out, a.dy, a.dz, a.z, a.dx, a.dresidual, a.gamma, a.mean, a.rstd, a.dgamma, a.dbeta, a.scratch,
             a.rows);
  }
  static void list(Pointers& out, const EmbeddingArgs& a) {
    for (int i = 0; i < 4; ++i) list_all(out, a.tables[i], a.ids[i]);
    list_all(out, a.z, a.y, a.y_bf16, a.gamma, a.beta, a.mean, a.rstd, a.rows);
  }
  static void list(Pointers& out, const GatedArgs& a) { list_all(out, a.a, a.b, a.y, a.y_bf16); }
  static void list(Pointers& out, const GatedBackwardArgs& a) { list_all(out, a.a, a.b, a.dy, a.da, a.db); }
  static void list(Pointers& out, const ScatterArgs& a) {
    list_all(out, a.grad, a.out, a.ids, a.start, a.order);
  }
  static void list(Pointers& out, const AttentionArgs& a) {
    list_all(out, a.q, a.k, a.v, a.out, a.out_bf16, a.lse, a.bias, a.bucket, a.q_rows, a.k_rows, a.k_begin,
             a.k_length);
  }
  static void list(Pointers& out, const AttentionBackwardArgs& a) {
    list_all(out, a.forward, a.dout, a.dq, a.dk, a.dv, a.dbias, a.bias_terms);
  }
  static void list(Pointers& out, const DisentangledArgs& a) {
    list_all(out, a.attention, a.pos_key, a.pos_query, a.pos_row);
  }
  static void list(Pointers& out, const DisentangledBackwardArgs& a) {
    list_all(out, a.forward, a.dout, a.dq, a.dk, a.dv, a.dpos_key, a.dpos_query, a.terms);
  }
  static void list(Pointers& out, const RotaryArgs& a) { list_all(out, a.x, a.table, a.position); }
  static void list(Pointers& out, const CrossEntropyArgs& a) {
    list_all(out, a.logits, a.dlogits, a.labels, a.class_weights, a.loss, a.total, a.grad, a.scratch,
             a.right);
  }
  static void list(Pointers& out, const KlDivergenceArgs& a) {
    list_all(out, a.logits, a.target, a.dlogits, a.dtarget, a.loss, a.total, a.grad, a.scratch);
  }
  static void list(Pointers& out, const RelationArgs& a) {
    list_all(out, a.student, a.teacher, a.gradient, a.rows, a.loss, a.total, a.scratch);
  }
  static void list(Pointers& out, const ElementLossArgs& a) {
    list_all(out, a.logits, a.targets, a.dlogits, a.loss, a.total, a.grad);
  }
  static void list(Pointers& out, const UpdateArgs& a) { list_all(out, a.w, a.m, a.v, a.g); }
  static void list(Pointers& out, const AdamW8bitArgs& a) {
    list_all(out, a.w, a.m, a.v, a.m_scale, a.v_scale, a.g);
  }
  static void list(Pointers& out, const BasicArgs& a) { list_all(out, a.a, a.b, a.out, a.cu_seqlens); }
  static void list(Pointers&, int64_t) {}
  static void list(Pointers&, Activation) {}
  static void list(Pointers&, DType) {}
  static void list(Pointers&, const Dropout&) {}
  static void list(Pointers&, const ParameterStore&) {}
  static void list(Pointers&, const Parameter&) {}
};

// --- the kernels

template <auto member, class F>
struct Opened;
template <auto member, class R, class... Args>
struct Opened<member, R (*)(Args...)> {
  static inline const char* name = "";
  static R call(Args... args) {
    Pointers pointers;
    (Pointing::list(pointers, args), ...);
    const bool all =
        std::all_of(pointers.begin(), pointers.end(), [](const void* p) { return !p || is_foreign(p); });
    {
      const std::lock_guard lock(memory().mutex);
      ++memory().counts.kernels;
      if (!all) memory().counts.host_pointers.push_back(name);
    }
    const Open open;
    return (cpu_device().kernels().*member)(args...);
  }
};

const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels t{};
    each_operation([&]<class Op>(const Op& operation) {
      using Call = Opened<Op::member, std::remove_reference_t<decltype(t.*Op::member)>>;
      Call::name = operation.name;
      t.*Op::member = Call::call;
    });
    return t;
  }();
  return table;
}

// --- memory

void* alloc(size_t bytes, const char* /*what*/) {
  const size_t size = pages(std::max<size_t>(bytes, 1));
  void* p = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const std::lock_guard lock(memory().mutex);
  if (memory().open > 0) ::mprotect(p, size, PROT_READ | PROT_WRITE);
  memory().regions.emplace(static_cast<const std::byte*>(p), size);
  ++memory().counts.allocs;
  memory().counts.bytes_alive += static_cast<int64_t>(bytes);
  return p;
}

void release(void* p, size_t bytes) {
  const std::lock_guard lock(memory().mutex);
  memory().regions.erase(static_cast<const std::byte*>(p));
  memory().counts.bytes_alive -= static_cast<int64_t>(bytes);
  ::munmap(p, pages(std::max<size_t>(bytes, 1)));
}

void copy_open(void* to, const void* from, size_t bytes) {
  const Open open;
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void copy_in(void* to, const void* from, size_t bytes) {
  ++memory().counts.copies_in;
  copy_open(to, from, bytes);
}

void copy_out(void* to, const void* from, size_t bytes) {
  ++memory().counts.copies_out;
  memory().counts.bytes_out += static_cast<int64_t>(bytes);
  copy_open(to, from, bytes);
}

void fill(float* p, int64_t n, float value) {
  const Open open;
  std::fill_n(p, n, value);
}

}  // namespace

const Device& foreign_device() {
  static const Device device = {.name = "foreign",
                                .description = [] { return std::string("foreign memory"); },
                                .is_host = false,
                                .kernels = kernels,
                                .plan_kernels = plan_kernels,
                                .has_bf16 = cpu_device().has_bf16,
                                .bf16_is_faster = cpu_device().bf16_is_faster,
                                .alloc = alloc,
                                .free = release,
                                .fill = fill,
                                .copy_in = copy_in,
                                .copy_out = copy_out,
                                .copy = copy_open,
                                .sync = [] {}};
  return device;
}

ForeignCounts foreign_counts() {
  const std::lock_guard lock(memory().mutex);
  return memory().counts;
}

void reset_foreign_counts() {
  const std::lock_guard lock(memory().mutex);
  const int64_t alive = memory().counts.bytes_alive;
  memory().counts = {};
  memory().counts.bytes_alive = alive;
}

OnForeignDevice::OnForeignDevice() { engine::devices().insert(engine::devices().begin(), &foreign_device()); }
OnForeignDevice::~OnForeignDevice() { engine::devices().erase(engine::devices().begin()); }

}  // namespace graft::test
