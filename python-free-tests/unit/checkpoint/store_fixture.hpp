// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A store in a temporary folder, with states that differ from step to step.

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bunchtrain/checkpoint/store.hpp"

namespace bunchtrain::checkpoint {

/// Keeps warnings for inspection.
class MemorySink : public LogSink {
 public:
  void write(LogLevel level, std::string_view text) override {
    const std::lock_guard lock(mutex_);
    if (level >= LogLevel::warning) warnings += std::string(text) + "\n";
  }
  std::string warnings;

 private:
  std::mutex mutex_;
};

inline Components make_components(std::int64_t step) {
  Components components;
  components["model"].tensors.set("weight", at::full({3, 4}, static_cast<double>(step), at::kFloat));
  components["model"].tensors.set("count", at::arange(step + 1));
  components["schedule"].set("step", step);
  components["schedule"].set("rate", 0.1 / static_cast<double>(step + 1));
  return components;
}

class StoreFixture : public testing::Test {
 protected:
  StoreFixture() {
    std::string name = (std::filesystem::temp_directory_path() / "bunchtrain-store-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("cannot make a temporary folder");
    root_ = name;
    folder_ = root_ / "checkpoints";
  }
  ~StoreFixture() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  Store make_store(StoreOptions options = {}) {
    options.logger = Logger(sink_);
    return Store(folder_, comm::Communicator::self(), options);
  }
  static SnapshotInfo save(Store& store, std::int64_t step, std::optional<double> metric = {}) {
    return store.save(
        {.step = step, .components = make_components(step), .metadata = {{"card", "toy"}}, .metric = metric});
  }

  static void save_unjudged(Store& store, std::int64_t step) {
    store.save(
        {.step = step, .components = make_components(step), .metadata = {{"card", "toy"}}, .judged = false});
  }

  /// Step of the newest snapshot that a new process would load; -1 for none.
  std::int64_t latest_step() {
    const auto snapshot = make_store().load_latest();
    if (!snapshot) return -1;
    expect_intact(*snapshot);
    return snapshot->info.step;
  }
  static void expect_intact(const Snapshot& snapshot) {
    const Components expected = make_components(snapshot.info.step);
    EXPECT_TRUE(
        snapshot.components.at("model").tensors["weight"].equal(expected.at("model").tensors["weight"]));
    EXPECT_TRUE(
        snapshot.components.at("model").tensors["count"].equal(expected.at("model").tensors["count"]));
    EXPECT_EQ(snapshot.components.at("schedule").integer("step"), snapshot.info.step);
    EXPECT_EQ(snapshot.components.at("schedule").real("rate"), expected.at("schedule").real("rate"));
  }

  /// Names in the store, in order.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }
  static std::string read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void write(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  static std::vector<std::filesystem::path> files_of(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
  }

  std::filesystem::path root_, folder_;
  std::shared_ptr<MemorySink> sink_ = std::make_shared<MemorySink>();
};

}  // namespace bunchtrain::checkpoint
