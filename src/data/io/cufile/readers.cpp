// SPDX-License-Identifier: Apache-2.0
// Bytes come to their place under a task's own lock, under which it is given up too: one that was given up never writes
// anywhere. Nobody takes the lock of the shared state while they hold that of a task.
#include "readers.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <optional>
#include <system_error>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data::io::cufile {
namespace {

constexpr std::size_t kMostHandles = 32;  // of one reader
constexpr int kFirstCode = 5000;

std::uint64_t aligned_down(std::uint64_t offset) {
  return offset / SlabMemory::kAlignment * SlabMemory::kAlignment;
}
std::uint64_t aligned_up(std::uint64_t offset) { return aligned_down(offset + SlabMemory::kAlignment - 1); }

}  // namespace

/// A part with what is needed of its file: who gave it may be gone before a reader has done with it.
struct Readers::Task {
  std::string path;
  FileStamp stamp;
  std::uint64_t offset = 0;
  std::span<std::byte> out;
  std::optional<Answer> answer = {};  ///< under the lock of the shared state

  /// Unless nobody waits for it any more.
  void put(SlabMemory& memory, const std::byte* from) {
    const std::lock_guard lock(mutex_);
    if (!given_up_) memory.copy(from, out);
  }
  void give_up() {
    const std::lock_guard lock(mutex_);
    given_up_ = true;
  }
  bool is_given_up() {
    const std::lock_guard lock(mutex_);
    return given_up_;
  }

 private:
  std::mutex mutex_;
  bool given_up_ = false;
};

struct Readers::Shared {
  Library library;
  SlabMemory* memory;
  std::mutex mutex;
  std::condition_variable task_there, answer_there;
  std::deque<std::shared_ptr<Task>> tasks;
  std::uint64_t answers = 0;  // so far
  int ended = 0;              // readers that have left
  bool stopped = false;
};

/// Of one thread.
class Readers::Reader {
 public:
  explicit Reader(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  ~Reader() {
    for (const Open& open : open_) library().handle_deregister(open.handle);
    if (registered_) library().buffer_deregister(slab_);
    if (slab_ != nullptr) shared_->memory->release(slab_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void run() {
    std::unique_lock lock(shared_->mutex);
    while (true) {
      shared_->task_there.wait(lock, [&] { return shared_->stopped || !shared_->tasks.empty(); });
      if (shared_->stopped) return;
      const auto task = std::move(shared_->tasks.front());
      shared_->tasks.pop_front();
      lock.unlock();
      Answer answer = task->is_given_up() ? Answer{} : answer_to(*task);
      lock.lock();
      task->answer = std::move(answer);
      ++shared_->answers;
      shared_->answer_there.notify_all();
    }
  }

 private:
  struct Open {
    std::string path;
    FileStamp stamp;
    std::unique_ptr<const FileDescriptor> descriptor;
    Handle handle;
  };
  const Library& library() const { return shared_->library; }

  std::string prepare_slab() {
    if (slab_ == nullptr) slab_ = shared_->memory->allocate(kSlabBytes);
    if (slab_ == nullptr) return "no memory for a slab";
    if (registered_) return {};
    const Status status = library().buffer_register(slab_, kSlabBytes, 0);
    registered_ = status.code == 0;
    return registered_ ? std::string() : describe(status);
  }

  /// @return null with the reason in `answer`
  Handle handle_of(const Task& task, Answer& answer) {
    const auto same = [&](const Open& open) { return open.stamp == task.stamp && open.path == task.path; };
    if (const auto found = std::ranges::find_if(open_, same); found != open_.end()) {
      open_.splice(open_.begin(), open_, found);
      return found->handle;
    }
    const int number = ::open(task.path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (number < 0) {
      answer = {Outcome::refused,
                "it cannot be opened past the page cache: " + std::generic_category().message(errno)};
      return nullptr;
    }
    Open open{task.path, task.stamp, std::make_unique<const FileDescriptor>(number), nullptr};
    struct stat status {};
    if (::fstat(number, &status) != 0 || FileStamp::of(status) != task.stamp) {
      answer = {Outcome::failed, "it has changed"};  // pread has the words for it
      return nullptr;
    }
    Description description;
    description.file.descriptor = number;
    if (const Status done = library().handle_register(&open.handle, &description); done.code != 0) {
      answer = {Outcome::refused, describe(done)};
      return nullptr;
    }
    open_.push_front(std::move(open));
    if (open_.size() > kMostHandles) {
      library().handle_deregister(open_.back().handle);
      open_.pop_back();
    }
    return open_.front().handle;
  }

  Answer answer_to(Task& task) {
    std::uint64_t skipped = 0;
    Answer answer = read(task, skipped);
    if (answer.outcome == Outcome::read) task.put(*shared_->memory, slab_ + skipped);
    return answer;
  }

  /// Into the slab, from its beginning on. @param skipped bytes before those that are wanted
  Answer read(const Task& task, std::uint64_t& skipped) {
    if (std::string reason = prepare_slab(); !reason.empty()) return {Outcome::refused, std::move(reason)};
    Answer answer;
    const Handle handle = handle_of(task, answer);
    if (handle == nullptr) return answer;
    const std::uint64_t begin = aligned_down(task.offset);
    skipped = task.offset - begin;
    const std::uint64_t wanted = skipped + task.out.size();
    for (std::uint64_t have = 0; have < wanted;) {
      const auto got = library().read(handle, slab_, aligned_up(wanted) - have,
                                      static_cast<off_t>(begin + have), static_cast<off_t>(have));
      if (got <= -kFirstCode) return {Outcome::refused, describe({.code = static_cast<int>(-got)})};
      if (got < 0) return {Outcome::failed, fmt::format("cuFileRead gives {} (errno {})", got, errno)};
      // What comes short may end anywhere: the next read begins where the aligned part of it ends.
      const std::uint64_t reached = have + static_cast<std::uint64_t>(got);
      if (reached >= wanted) break;
      if (aligned_down(reached) <= have) return {Outcome::failed, "cuFileRead comes short"};
      have = aligned_down(reached);
    }
    return {Outcome::read, {}};
  }

  std::shared_ptr<Shared> shared_;
  std::byte* slab_ = nullptr;
  bool registered_ = false;
  std::list<Open> open_;  // the one used last in front
};

Readers::Readers(const Library& library, SlabMemory& memory, int count)
    : shared_(std::make_shared<Shared>()), count_(count) {
  shared_->library = library;
  shared_->memory = &memory;
}

void Readers::start() {
  for (int i = 0; i < count_; ++i)
    threads_.emplace_back([shared = shared_] {
      Reader(shared).run();
      const std::lock_guard lock(shared->mutex);
      ++shared->ended;
      shared->answer_there.notify_all();
    });
}

Readers::~Readers() {
  constexpr std::chrono::seconds kLastCall{1};
  bool all_ended = false;
  {
    std::unique_lock lock(shared_->mutex);
    shared_->stopped = true;
    shared_->task_there.notify_all();
    all_ended = shared_->answer_there.wait_for(
        lock, kLastCall, [&] { return shared_->ended == static_cast<int>(threads_.size()); });
  }
  for (std::thread& thread : threads_) all_ended ? thread.join() : thread.detach();
}

std::vector<Answer> Readers::read(std::span<const Part> parts, std::chrono::milliseconds patience) {
  std::call_once(started_, [this] { start(); });
  std::vector<std::shared_ptr<Task>> tasks;
  for (const Part& part : parts) {
    tasks.push_back(std::make_shared<Task>());
    tasks.back()->path = part.file->path();
    tasks.back()->stamp = part.file->stamp();
    tasks.back()->offset = part.offset;
    tasks.back()->out = part.out;
  }
  std::unique_lock lock(shared_->mutex);
  shared_->tasks.insert(shared_->tasks.end(), tasks.begin(), tasks.end());
  shared_->task_there.notify_all();
  std::vector<Answer> answers(tasks.size());
  const auto all_there = [&] {
    return std::ranges::all_of(tasks, [](const auto& task) { return task->answer.has_value(); });
  };
  while (!all_there()) {  // answers to anybody show that the library is alive
    const std::uint64_t before = shared_->answers;
    if (!shared_->answer_there.wait_for(lock, patience, [&] { return shared_->answers != before; })) break;
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    tasks[i]->give_up();
    if (tasks[i]->answer) answers[i] = *tasks[i]->answer;
  }
  return answers;
}

}  // namespace bunchtrain::data::io::cufile
