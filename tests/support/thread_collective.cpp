#include "support/thread_collective.h"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

namespace graft::test {
namespace {

constexpr const char* kOther = "another rank has failed";

// Where the ranks meet: each leaves its bytes, and reads those of all.
class Meeting {
 public:
  explicit Meeting(int size) : given_(static_cast<size_t>(size)) {}

  std::vector<std::vector<std::byte>> exchange(int rank, std::span<const std::byte> mine) {
    std::unique_lock lock(mutex_);
    given_[static_cast<size_t>(rank)].assign(mine.begin(), mine.end());
    wait(lock);
    auto all = given_;
    wait(lock);  // nobody gives anew before all have read
    return all;
  }

  // A rank has failed: the others would wait for it.
  void break_up() {
    const std::lock_guard lock(mutex_);
    broken_ = true;
    changed_.notify_all();
  }

 private:
  void wait(std::unique_lock<std::mutex>& lock) {
    const int64_t round = round_;
    if (++arrived_ == static_cast<int>(given_.size())) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return round_ != round || broken_; });
    if (round_ == round) throw std::runtime_error(kOther);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<std::byte>> given_;
  int arrived_ = 0;
  int64_t round_ = 0;
  bool broken_ = false;
};

class Rank : public engine::Collective {
 public:
  Rank(Meeting& meeting, int rank, int size) : meeting_(meeting), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void all_reduce(float* x, int64_t n) override { sum(x, n); }
  void all_reduce(double* x, int64_t n) override { sum(x, n); }
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override {
    return meeting_.exchange(rank_, mine);
  }
  void broadcast(float* x, int64_t n, int root) override {
    const auto all = all_gather(std::as_bytes(std::span(x, static_cast<size_t>(n))));
    const auto* from = reinterpret_cast<const float*>(all[static_cast<size_t>(root)].data());
    std::copy_n(from, n, x);
  }
  void barrier() override { all_gather({}); }

 private:
  template <class T>
  void sum(T* x, int64_t n) {
    const auto all = all_gather(std::as_bytes(std::span(x, static_cast<size_t>(n))));
    std::fill_n(x, n, T{0});
    for (const auto& bytes : all)
      for (int64_t i = 0; i < n; ++i) x[i] += reinterpret_cast<const T*>(bytes.data())[i];
  }

  Meeting& meeting_;
  int rank_, size_;
};

}  // namespace

void run_ranks(int size, const std::function<void(engine::Collective&)>& f) {
  Meeting meeting(size);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      Rank rank(meeting, r, size);
      try {
        f(rank);
      } catch (...) {
        errors[static_cast<size_t>(r)] = std::current_exception();
        meeting.break_up();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::exception_ptr& e : errors) {
    if (!e) continue;
    try {
      std::rethrow_exception(e);
    } catch (const std::runtime_error& error) {
      if (std::string(error.what()) != kOther) throw;
    }
  }
}

}  // namespace graft::test
