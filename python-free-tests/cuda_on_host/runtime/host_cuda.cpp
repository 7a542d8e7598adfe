// SPDX-License-Identifier: Apache-2.0
#include "host_cuda.hpp"

#include <link.h>

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <boost/context/preallocated.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bunchtrain::host_cuda {

Coordinates current;

namespace {

namespace context = boost::context;

constexpr unsigned kWarpSize = 32;
constexpr std::size_t kStackBytes = 128 * 1024;
constexpr std::byte kPoison{0xFF};

enum class State { ready, at_barrier, at_warp_operation, done };

/// The copies of one thread, by group; the last group is not committed yet.
class AsyncCopies {
 public:
  void start(const AsyncCopy& copy) {
    std::memset(copy.to, static_cast<int>(kPoison), copy.bytes);
    groups_.back().push_back(copy);
  }
  void commit() { groups_.emplace_back(); }
  void wait(std::size_t groups_left) {
    for (; groups_.size() > groups_left + 1; groups_.pop_front())
      for (const AsyncCopy& copy : groups_.front()) finish(copy);
  }
  /// nullptr if there is none.
  const AsyncCopy* first_under_way() const {
    for (const auto& group : groups_)
      if (!group.empty()) return &group.front();
    return nullptr;
  }

 private:
  static void finish(const AsyncCopy& copy) {
    if (copy.from) {
      std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
      std::memset(copy.to, 0, copy.bytes);
    }
  }
  std::deque<std::vector<AsyncCopy>> groups_ = std::deque<std::vector<AsyncCopy>>(1);
};

struct Thread {
  context::fiber fiber;
  Dim3 index;
  State state = State::ready;
  std::source_location where;
  WarpOperation operation{};
  unsigned mask = 0;
  std::uint64_t value = 0;
  WarpExchange received{};
  AsyncCopies copies;
};

/// Stacks are kept between blocks: mapping them costs more than running a small kernel.
/// Overflow faults on a guard page.
class StackPool {
 public:
  ~StackPool() {
    for (context::stack_context& stack : free_) allocator_.deallocate(stack);
  }
  context::stack_context allocate() {
    if (free_.empty()) return allocator_.allocate();
    const context::stack_context stack = free_.back();
    free_.pop_back();
    return stack;
  }
  void deallocate(context::stack_context& stack) { free_.push_back(stack); }

 private:
  context::protected_fixedsize_stack allocator_{kStackBytes};
  std::vector<context::stack_context> free_;
};

StackPool& stack_pool() {
  static StackPool pool;
  return pool;
}

/// What boost wants: a copyable allocator.
struct PooledStack {
  context::stack_context allocate() { return stack_pool().allocate(); }
  void deallocate(context::stack_context& stack) { stack_pool().deallocate(stack); }
};

std::string text(Dim3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) +
         ")";
}

std::string text(std::source_location where) {
  std::string file = where.file_name();
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line());
}

std::string hex(unsigned mask) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "0x%08x", mask);
  return digits;
}

std::mt19937_64 random_order(1);

/// The threads of one block and what each of them waits for.
class Block {
 public:
  Block(Dim3 size, const std::function<void()>& body) : threads_(std::size_t{size.x} * size.y * size.z) {
    for (std::size_t t = 0; t < threads_.size(); ++t) {
      Thread& thread = threads_[t];
      const auto linear = static_cast<unsigned>(t);
      thread.index = {linear % size.x, linear / size.x % size.y, linear / size.x / size.y};
      thread.fiber = context::fiber(std::allocator_arg, PooledStack(),
                                    [this, &body, &thread](context::fiber&& scheduler) {
                                      scheduler_ = std::move(scheduler);
                                      run_body(body);
                                      thread.state = State::done;
                                      return std::move(scheduler_);
                                    });
      ready_.push_back(t);
    }
  }

  void run() {
    while (true) {
      while (!ready_.empty()) {
        std::swap(ready_[random_order() % ready_.size()], ready_.back());
        running_ = ready_.back();
        ready_.pop_back();
        resume(threads_[running_]);
      }
      if (!release_barrier()) return;
    }
  }

  void block_barrier(std::source_location where) {
    Thread& thread = threads_[running_];
    thread.state = State::at_barrier;
    thread.where = where;
    yield();
  }

  WarpExchange exchange(WarpOperation operation, unsigned mask, std::uint64_t value,
                        std::source_location where) {
    Thread& thread = threads_[running_];
    thread.state = State::at_warp_operation;
    thread.where = where;
    thread.operation = operation;
    thread.mask = mask;
    thread.value = value;
    if ((mask >> lane() & 1u) == 0) fail("a warp operation whose mask does not contain the caller", where);
    if (!complete_warp_operation(thread)) yield();
    return threads_[running_].received;
  }

  unsigned lane() const { return static_cast<unsigned>(running_) % kWarpSize; }

  AsyncCopies& copies() { return threads_[running_].copies; }

  [[noreturn]] void fail(const std::string& what, std::source_location where) const {
    throw Misuse(text(where) + ": thread " + text(threads_[running_].index) + " of block " +
                 text(current.block) + ": " + what);
  }

 private:
  void run_body(const std::function<void()>& body) {
    try {
      body();
      if (const AsyncCopy* copy = copies().first_under_way())
        fail("returned without having waited for the copy that it started there", copy->where);
    } catch (const context::detail::forced_unwind&) {
      throw;  // the block is being torn down
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  void resume(Thread& thread) {
    current.thread = thread.index;
    thread.state = State::ready;
    thread.fiber = std::move(thread.fiber).resume();
    if (failure_) std::rethrow_exception(failure_);
  }

  void yield() { scheduler_ = std::move(scheduler_).resume(); }

  /// Everything waits. Lets a block barrier's threads go on if all are there; false if all are done.
  bool release_barrier() {
    std::size_t at_barrier = 0, done = 0;
    for (const Thread& thread : threads_) {
      at_barrier += thread.state == State::at_barrier;
      done += thread.state == State::done;
    }
    if (done == threads_.size()) return false;
    if (at_barrier != threads_.size()) throw Misuse(describe_deadlock());
    for (std::size_t t = 0; t < threads_.size(); ++t) {
      const Thread& thread = threads_[t];
      if (thread.where.line() != threads_[0].where.line())
        throw Misuse("the threads of a block are at different barriers: " + describe(threads_[0]) + ", " +
                     describe(thread));
      ready_.push_back(t);
    }
    return true;
  }

  std::string describe(const Thread& thread) const {
    const std::string who = "thread " + text(thread.index);
    if (thread.state == State::done) return who + " has returned";
    if (thread.state == State::at_barrier) return who + " waits at the barrier " + text(thread.where);
    return who + " waits at the warp operation " + text(thread.where) + " for lanes " + hex(thread.mask);
  }

  /// Names one thread of each kind.
  std::string describe_deadlock() const {
    std::string what = "block " + text(current.block) + " cannot go on";
    bool seen[4] = {};
    for (const Thread& thread : threads_) {
      if (std::exchange(seen[static_cast<int>(thread.state)], true)) continue;
      what += "; " + describe(thread);
    }
    return what;
  }

  /// If the last lane has come: hands the values round and readies the others.
  bool complete_warp_operation(const Thread& last) {
    const std::size_t first = running_ / kWarpSize * kWarpSize;
    WarpExchange result{last.mask, {}};
    for (unsigned l = 0; l < kWarpSize; ++l) {
      if ((last.mask >> l & 1u) == 0) continue;
      if (first + l >= threads_.size())
        fail("a warp operation for lanes " + hex(last.mask) + ", of which some do not exist", last.where);
      const Thread& thread = threads_[first + l];
      if (thread.state == State::done)
        fail("a warp operation for lanes " + hex(last.mask) + ", but " + describe(thread), last.where);
      if (thread.state != State::at_warp_operation) return false;
      if (thread.mask != last.mask || thread.operation != last.operation ||
          thread.where.line() != last.where.line())
        fail("a warp operation for lanes " + hex(last.mask) + ", but " + describe(thread), last.where);
      result.values[l] = thread.value;
    }
    for (unsigned l = 0; l < kWarpSize; ++l) {
      if ((last.mask >> l & 1u) == 0) continue;
      Thread& thread = threads_[first + l];
      thread.received = result;
      thread.state = State::ready;
      if (first + l != running_) ready_.push_back(first + l);
    }
    return true;
  }

  std::vector<Thread> threads_;
  std::vector<std::size_t> ready_;
  std::size_t running_ = 0;
  context::fiber scheduler_;
  std::exception_ptr failure_;
};

Block* block = nullptr;
std::vector<std::byte> shared_memory;
BlockOrder block_order = BlockOrder::ascending;
std::size_t written_static_bytes = 0;
std::span<std::byte> static_memory;

/// The variables that kernels declare __shared__: all thread-local ones of the program that start as zero.
std::span<std::byte> static_shared() {
  std::span<std::byte> found;
  const auto look = [](dl_phdr_info* object, std::size_t, void* out) {
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      if (segment.p_type == PT_TLS && object->dlpi_tls_data)
        *static_cast<std::span<std::byte>*>(out) = {
            static_cast<std::byte*>(object->dlpi_tls_data) + segment.p_filesz,
            segment.p_memsz - segment.p_filesz};
    }
    return 1;  // the program itself comes first
  };
  dl_iterate_phdr(look, &found);
  return found;
}

void check_launch(const GridConfig& config) {
  const Dim3 size = config.block, grid = config.grid;
  const std::size_t threads = std::size_t{size.x} * size.y * size.z;
  if (threads < 1 || threads > 1024 || size.z > 64)
    throw Misuse("a block of " + text(size) + " threads; at most 1024 are allowed");
  if (grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535)
    throw Misuse("a grid of " + text(grid) + " blocks; at most (2147483647, 65535, 65535) are allowed");
}

void check_shared(const GridConfig& config) {
  if (written_static_bytes + config.dynamic_shared_bytes > config.max_shared_bytes)
    throw Misuse(std::to_string(config.dynamic_shared_bytes) + " bytes of dynamic and " +
                 std::to_string(written_static_bytes) + " of static shared memory; " +
                 std::to_string(config.max_shared_bytes) + " are allowed");
}

void run_block(Dim3 size, const std::function<void()>& thread_body) {
  std::fill(shared_memory.begin(), shared_memory.end(), kPoison);
  std::fill(static_memory.begin(), static_memory.end(), kPoison);
  Block threads(size, thread_body);
  block = &threads;
  threads.run();
}

std::vector<std::size_t> ordered_blocks(Dim3 grid) {
  std::vector<std::size_t> blocks(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), std::size_t{0});
  if (block_order == BlockOrder::descending) std::reverse(blocks.begin(), blocks.end());
  if (block_order == BlockOrder::random) std::shuffle(blocks.begin(), blocks.end(), random_order);
  return blocks;
}

void run_blocks(const GridConfig& config, const std::function<void()>& thread_body) {
  static_memory = static_shared();
  bool first = true;
  for (const std::size_t linear : ordered_blocks(config.grid)) {
    const std::size_t x = config.grid.x, y = config.grid.y;
    current.block = {static_cast<unsigned>(linear % x), static_cast<unsigned>(linear / x % y),
                     static_cast<unsigned>(linear / x / y)};
    run_block(config.block, thread_body);
    if (!std::exchange(first, false)) continue;
    written_static_bytes = static_memory.size() - static_cast<std::size_t>(std::count(
                                                      static_memory.begin(), static_memory.end(), kPoison));
    check_shared(config);
  }
}

}  // namespace

void set_seed(std::uint64_t seed) { random_order.seed(seed); }

void set_block_order(BlockOrder order) { block_order = order; }

void run_grid(const GridConfig& config, const std::function<void()>& thread_body) {
  check_launch(config);
  written_static_bytes = 0;
  check_shared(config);
  shared_memory.resize(config.dynamic_shared_bytes);
  current.block_size = config.block;
  current.grid_size = config.grid;
  std::exception_ptr failure;
  // A thread of its own has its own variables declared __shared__, and no others that could be poisoned.
  std::thread([&] {
    try {
      run_blocks(config, thread_body);
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

std::size_t static_shared_bytes() { return written_static_bytes; }

std::byte* dynamic_shared() { return shared_memory.data(); }

void block_barrier(std::source_location where) { block->block_barrier(where); }

WarpExchange exchange(WarpOperation operation, unsigned mask, std::uint64_t value,
                      std::source_location where) {
  return block->exchange(operation, mask, value, where);
}

unsigned lane() { return block->lane(); }

void require_shared(const void* address, std::size_t bytes, std::source_location where) {
  const auto* first = static_cast<const std::byte*>(address);
  const auto within = [&](std::span<const std::byte> memory) {
    return first >= memory.data() && first + bytes <= memory.data() + memory.size();
  };
  if (!within(shared_memory) && !within(static_memory)) fail("an address outside shared memory", where);
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0)
    fail("an address that is not a multiple of the bytes moved", where);
}

void start_copy(const AsyncCopy& copy) {
  require_shared(copy.to, copy.bytes, copy.where);
  if (reinterpret_cast<std::uintptr_t>(copy.from) % copy.bytes != 0)
    fail("an address that is not a multiple of the bytes moved", copy.where);
  block->copies().start(copy);
}

void commit_copies() { block->copies().commit(); }

void wait_for_copies(std::size_t groups_left) { block->copies().wait(groups_left); }

void fail(const char* what, std::source_location where) { block->fail(what, where); }

}  // namespace bunchtrain::host_cuda
