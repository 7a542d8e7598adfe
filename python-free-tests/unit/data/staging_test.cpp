// SPDX-License-Identifier: Apache-2.0
// Copies of data files on a node's disk: in order, whole, shared, made again, and never in the way of the reading.
#include "bunchtrain/data/staging.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <thread>

#include "../../support/process.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "hdf5_samples.hpp"
#include "io/file_bytes.hpp"
#include "staging/copy_folder.hpp"
#include "staging/lease.hpp"

namespace bunchtrain::data {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::size_t kSampleBytes = 1 << 16;
constexpr std::int64_t kSamplesPerFile = 96;  // 6 MiB: two pieces of a copy
constexpr std::uint64_t kFileBytes = kSampleBytes * kSamplesPerFile;
constexpr const char* kKilledFolder = "BUNCHTRAIN_KILLED_STAGER";

/// Files of samples, each a range that ends in a hash of itself.
class HashedFiles final : public Dataset {
 public:
  explicit HashedFiles(const std::vector<std::string>& paths) {
    for (const auto& path : paths) files_.push_back(std::make_unique<FileBytes>(path));
    const auto samples = static_cast<std::int64_t>(paths.size()) * kSamplesPerFile;
    for (std::int64_t i = 0; i < samples; ++i) ranges_.push_back({i, 1});
  }
  static void write(const std::string& path, std::uint64_t seed) {
    std::ofstream file(path, std::ios::binary);
    std::vector<std::uint64_t> words(kSampleBytes / 8);
    for (std::int64_t i = 0; i < kSamplesPerFile; ++i) {
      for (std::size_t word = 0; word + 1 < words.size(); ++word)
        words[word] = mix64(seed, static_cast<std::uint64_t>(i) * words.size() + word);
      words.back() = sum_of(words);
      file.write(reinterpret_cast<const char*>(words.data()), kSampleBytes);
    }
  }

  std::int64_t size() const noexcept override { return static_cast<std::int64_t>(ranges_.size()); }
  std::span<const SampleRange> ranges() const noexcept override { return ranges_; }
  SampleBlock read(std::size_t range) const override {
    const ReadPlan wanted = plan(range);
    std::vector<std::byte> bytes(kSampleBytes);
    wanted.pieces.front().source->read(wanted.pieces.front().offset, bytes);
    return decode(range, {wanted, bytes});
  }
  ReadPlan plan(std::size_t range) const override {
    ReadPlan plan;
    plan.add(*files_[range / kSamplesPerFile], offset(range), kSampleBytes);
    return plan;
  }
  SampleBlock decode(std::size_t range, PlannedBytes bytes) const override {
    const auto found = bytes.next(*files_[range / kSamplesPerFile], offset(range), kSampleBytes);
    std::vector<std::uint64_t> words(kSampleBytes / 8);
    std::memcpy(words.data(), found.data(), kSampleBytes);
    if (words.back() != sum_of(words)) throw DataError("a sample is damaged");
    NamedTensors tensors;
    tensors.set("bytes",
                at::from_blob(words.data(), {1, static_cast<std::int64_t>(kSampleBytes)}, at::kByte).clone());
    return {.tensors = std::move(tensors), .range = ranges_[range]};
  }
  const DatasetSummary& summary() const override { return summary_; }

 private:
  static std::uint64_t sum_of(std::span<const std::uint64_t> words) {
    std::uint64_t sum = 0;
    for (const std::uint64_t word : words.first(words.size() - 1)) sum = mix64(sum, word);
    return sum;
  }
  static std::uint64_t offset(std::size_t range) { return range % kSamplesPerFile * kSampleBytes; }

  std::vector<std::unique_ptr<FileBytes>> files_;
  std::vector<SampleRange> ranges_;
  DatasetSummary summary_;
};

class KeptLog final : public LogSink {
 public:
  void write(LogLevel, std::string_view text) override {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(text);
  }
  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

class StagingTest : public Hdf5FilesTest {
 protected:
  void TearDown() override {
    before_copied_piece() = nullptr;
    Hdf5FilesTest::TearDown();
  }

  std::vector<std::string> write_files(int count) const {
    std::vector<std::string> paths;
    for (int i = 0; i < count; ++i) {
      paths.push_back(path("source" + std::to_string(i) + ".bin"));
      HashedFiles::write(paths.back(), static_cast<std::uint64_t>(i));
    }
    return paths;
  }
  StagingOptions options(std::uint64_t capacity = 0) const {
    return {.folder = folder_ / "disk", .capacity_bytes = capacity, .floor_bytes = 0, .logger = Logger(log)};
  }
  std::filesystem::path copies() const { return folder_ / "disk" / "bunchtrain-staging"; }
  std::filesystem::path copy_of(const std::string& source) const {
    return copies() / look_at_source(source).copy;
  }
  std::vector<std::string> leftovers() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(copies()))
      if (const auto name = entry.path().filename().string(); name.find(".partial-") != std::string::npos)
        found.push_back(name);
    return found;
  }

  static std::vector<std::size_t> all_ranges(const Dataset& dataset) {
    std::vector<std::size_t> ranges(dataset.ranges().size());
    for (std::size_t i = 0; i < ranges.size(); ++i) ranges[i] = i;
    return ranges;
  }
  static void expect(Staging& staging, const std::vector<std::string>& paths) {
    const auto dataset = std::make_shared<HashedFiles>(paths);
    staging.expect(dataset, all_ranges(*dataset));
  }
  /// Whether it comes true within a minute.
  template <class Condition>
  static bool eventually(const Condition& condition) {
    for (int tries = 0; tries < 6000; ++tries) {
      if (condition()) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
  static bool stages(const Staging& staging, std::size_t files) {
    return eventually([&] { return staging.statistics().staged_files == files; });
  }
  static DataLoader make_loader(const DatasetPtr& dataset, std::shared_ptr<Staging> staging) {
    return {dataset,
            {.global_batch = 32, .threads = 2, .prefetch_bytes = 1 << 20, .staging = std::move(staging)}};
  }
  static std::vector<at::Tensor> epoch_of(DataLoader& loader) {
    std::vector<at::Tensor> batches;
    for (const Batch& batch : loader) batches.push_back(batch.tensors["bytes"]);
    return batches;
  }
  static void expect_same(const std::vector<at::Tensor>& one, const std::vector<at::Tensor>& other) {
    ASSERT_EQ(one.size(), other.size());
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(at::equal(one[i], other[i])) << i;
  }

  std::shared_ptr<KeptLog> log = std::make_shared<KeptLog>();
};

TEST_F(StagingTest, TrainingReadsTheSourceUntilACopyIsWhole) {
  const auto paths = write_files(3);
  const auto dataset = std::make_shared<HashedFiles>(paths);
  DataLoader plain = make_loader(dataset, nullptr);
  const auto expected = epoch_of(plain), expected_next = epoch_of(plain);

  std::atomic<bool> slow = true;
  before_copied_piece() = [&](std::uint64_t) {
    while (slow) std::this_thread::sleep_for(1ms);
  };
  const auto staging = std::make_shared<Staging>(options());
  DataLoader loader = make_loader(dataset, staging);
  expect_same(epoch_of(loader), expected);
  EXPECT_EQ(staging->statistics().staged_files, 0) << "no file is complete before a whole epoch";
  EXPECT_FALSE(staging->redirect(dataset->plan(0)));
  slow = false;
  ASSERT_TRUE(stages(*staging, 3));
  const auto redirected = staging->redirect(dataset->plan(0));
  ASSERT_TRUE(redirected);
  EXPECT_EQ(redirected->plan.pieces.front().source->path(), copy_of(paths[0]).string());
  expect_same(epoch_of(loader), expected_next);
  for (const auto& source : paths)
    EXPECT_TRUE(test::read_file(source) == test::read_file(copy_of(source))) << source;
  const auto statistics = staging->statistics();
  EXPECT_EQ(statistics.copied_bytes, 3 * kFileBytes) << "nothing twice";
  EXPECT_TRUE(statistics.is_stager);
  EXPECT_THAT(leftovers(), IsEmpty());
}

/// A disk with room for three of ten files, a slow source, two ranks of a node over three epochs: what is read first is copied
/// once, by one of them, and nothing is given up for what does not fit.
TEST_F(StagingTest, TwoRanksOfANodeCopyWhatFitsOnce) {
  const auto paths = write_files(10);
  const auto dataset = std::make_shared<HashedFiles>(paths);
  before_copied_piece() = [](std::uint64_t) { std::this_thread::sleep_for(20ms); };
  std::array<std::shared_ptr<Staging>, 2> stagings;
  for (auto& staging : stagings) staging = std::make_shared<Staging>(options(3 * kFileBytes));
  std::vector<std::int64_t> seen(static_cast<std::size_t>(dataset->size()));
  std::vector<DataLoader> ranks;
  for (int rank = 0; rank < 2; ++rank)
    ranks.emplace_back(dataset, DataLoaderOptions{.global_batch = 32,
                                                  .rank = rank,
                                                  .world_size = 2,
                                                  .prefetch_bytes = 1 << 20,
                                                  .staging = stagings[static_cast<std::size_t>(rank)]});
  for (int epoch = 0; epoch < 3; ++epoch) {
    for (DataLoader& rank : ranks)
      while (const auto batch = rank.next())
        for (std::int64_t i = 0; i < batch->size(); ++i)
          ++seen[static_cast<std::size_t>(batch->sample_ids[i].item<std::int64_t>())];
    for (const auto& staging : stagings) ASSERT_TRUE(stages(*staging, 3));
  }
  EXPECT_THAT(seen, testing::Each(3));
  const StagingStatistics one = stagings[0]->statistics(), other = stagings[1]->statistics();
  EXPECT_EQ(one.copied_bytes + other.copied_bytes, 3 * kFileBytes) << "as planned, to the byte";
  EXPECT_EQ(one.evicted + other.evicted, 0U);
  EXPECT_EQ(one.bad_copies + other.bad_copies, 0U);
  EXPECT_NE(one.is_stager, other.is_stager);
  EXPECT_THAT(CopyFolder(copies()).copies(), SizeIs(3));
  EXPECT_THAT(leftovers(), IsEmpty());
}

TEST_F(StagingTest, WhatLiesOnTheDiskAlreadyIsNotCopied) {
  auto paths = write_files(2);
  const auto fetched = folder_ / "disk" / "bunchtrain-remote" / "jets.bin";
  std::filesystem::create_directories(fetched.parent_path());
  std::filesystem::rename(paths[0], fetched);
  const auto dataset = std::make_shared<HashedFiles>(std::vector{fetched.string(), paths[1]});
  Staging staging(options());
  staging.expect(dataset, {0, kSamplesPerFile});
  ASSERT_TRUE(stages(staging, 1));
  EXPECT_EQ(staging.statistics().files, 1);
  EXPECT_FALSE(std::filesystem::exists(copy_of(fetched)));
}

TEST_F(StagingTest, FilesAreCopiedInTheOrderOfTheirFirstUse) {
  const auto paths = write_files(3);
  const auto dataset = std::make_shared<HashedFiles>(paths);
  Staging staging(options(2 * kFileBytes));
  staging.expect(dataset, {2 * kSamplesPerFile, 5, 2 * kSamplesPerFile + 1, kSamplesPerFile});
  ASSERT_TRUE(stages(staging, 2));
  EXPECT_TRUE(std::filesystem::exists(copy_of(paths[2])));
  EXPECT_TRUE(std::filesystem::exists(copy_of(paths[0])));
  EXPECT_TRUE(eventually([&] { return staging.statistics().files == 3; }));
  EXPECT_TRUE(eventually([&] { return !log->lines().empty(); }));
  EXPECT_THAT(log->lines().back(), AllOf(HasSubstr("2 of 3 files"), HasSubstr("there is no room for them")));
  const auto statistics = staging.statistics();
  EXPECT_EQ(statistics.staged_bytes, 2 * kFileBytes);
  EXPECT_EQ(statistics.copied_bytes, 2 * kFileBytes) << "what has been copied stays";
  EXPECT_EQ(statistics.evicted, 0);
}

TEST_F(StagingTest, CopiesOfEarlierJobsMakeRoom) {
  const auto paths = write_files(3);
  {
    Staging earlier(options());
    expect(earlier, {paths[0], paths[1]});
    ASSERT_TRUE(stages(earlier, 2));
  }
  Staging staging(options(2 * kFileBytes));
  expect(staging, {paths[2], paths[1]});
  ASSERT_TRUE(stages(staging, 2));
  const auto statistics = staging.statistics();
  EXPECT_EQ(statistics.evicted, 1);
  EXPECT_EQ(statistics.copied_bytes, kFileBytes);
  EXPECT_EQ(statistics.checked_bytes, kFileBytes);
  EXPECT_FALSE(std::filesystem::exists(copy_of(paths[0])));
}

TEST_F(StagingTest, LessRoomThanBeforeKeepsWhatIsReadFirst) {
  const auto paths = write_files(3);
  {
    Staging earlier(options());
    expect(earlier, paths);
    ASSERT_TRUE(stages(earlier, 3));
  }
  Staging staging(options(2 * kFileBytes));
  expect(staging, {paths[2], paths[1], paths[0]});
  ASSERT_TRUE(eventually([&] { return staging.statistics().evicted == 1; }));
  EXPECT_TRUE(stages(staging, 2));
  EXPECT_FALSE(std::filesystem::exists(copy_of(paths[0])));
  StagingOptions full = options();
  full.floor_bytes = std::uint64_t{1} << 62;
  full.folder = folder_ / "other";
  Staging none(full);
  expect(none, paths);
  EXPECT_TRUE(eventually([&] { return none.statistics().files == 3; }));
  EXPECT_EQ(none.statistics().copied_bytes, 0) << "the floor is above all that is free";
}

// The other half of the next test, in a process of its own.
TEST_F(StagingTest, DISABLED_CopiesUntilItIsKilled) {
  const char* folder = std::getenv(kKilledFolder);
  ASSERT_NE(folder, nullptr);
  const std::filesystem::path there(folder);
  std::atomic<int> pieces = 0;
  before_copied_piece() = [&](std::uint64_t) {
    if (++pieces < 4) return;  // the second piece of the second file
    std::ofstream(there / "within");
    for (;;) std::this_thread::sleep_for(1s);
  };
  Staging staging({.folder = there / "disk", .floor_bytes = 0});
  expect(staging, {(there / "source0.bin").string(), (there / "source1.bin").string()});
  for (;;) std::this_thread::sleep_for(1s);
}

TEST_F(StagingTest, AKilledStagerLeavesNothingBad) {
  const auto paths = write_files(2);
  const std::string itself = std::filesystem::read_symlink("/proc/self/exe").string();
  test::Process stager("env " + std::string(kKilledFolder) + "=" + folder_.string() + " " + itself +
                           " --gtest_also_run_disabled_tests "
                           "--gtest_filter=StagingTest.DISABLED_CopiesUntilItIsKilled",
                       folder_ / "output");
  ASSERT_TRUE(stager.wait_until([&] { return std::filesystem::exists(folder_ / "within"); }))
      << stager.output();
  EXPECT_THAT(leftovers(), SizeIs(1));
  {
    Staging waiting(options());
    expect(waiting, paths);
    ASSERT_TRUE(stages(waiting, 1)) << "what the other has made is read";
    EXPECT_FALSE(waiting.statistics().is_stager);
    stager.signal(SIGKILL);
    stager.wait();
    ASSERT_TRUE(stages(waiting, 2)) << "the lease dies with its holder";
    EXPECT_EQ(waiting.statistics().copied_bytes, kFileBytes);
  }
  EXPECT_THAT(leftovers(), IsEmpty());
  EXPECT_TRUE(test::read_file(paths[1]) == test::read_file(copy_of(paths[1])));
}

TEST_F(StagingTest, AJobReusesWhatIsGoodAndMakesTheRestAgain) {
  const auto paths = write_files(4);
  {
    Staging earlier(options());
    expect(earlier, paths);
    ASSERT_TRUE(stages(earlier, 4));
  }
  std::fstream flipped(copy_of(paths[1]), std::ios::in | std::ios::out | std::ios::binary);
  flipped.seekp(12345).put('x');
  flipped.close();
  std::filesystem::resize_file(copy_of(paths[2]), 100);
  std::ofstream(copies() / ("record-" + copy_of(paths[3]).filename().string())) << R"({"bytes": [)";
  Staging staging(options());
  expect(staging, paths);
  ASSERT_TRUE(stages(staging, 4));
  const auto statistics = staging.statistics();
  EXPECT_EQ(statistics.copied_bytes, 3 * kFileBytes);
  EXPECT_EQ(statistics.bad_copies, 2);
  EXPECT_THAT(log->lines(), Contains(HasSubstr("source1.bin is damaged: it is made again")));
  for (const auto& source : paths)
    EXPECT_TRUE(test::read_file(source) == test::read_file(copy_of(source))) << source;
}

TEST_F(StagingTest, ACopyThatGoesBadIsReadFromItsSource) {
  const auto paths = write_files(2);
  const auto dataset = std::make_shared<HashedFiles>(paths);
  DataLoader plain = make_loader(dataset, nullptr);
  const auto first = epoch_of(plain), second = epoch_of(plain), third = epoch_of(plain);
  const auto staging = std::make_shared<Staging>(options());
  DataLoader loader = make_loader(dataset, staging);
  expect_same(epoch_of(loader), first);
  ASSERT_TRUE(stages(*staging, 2));
  std::fstream damaged(copy_of(paths[0]), std::ios::in | std::ios::out | std::ios::binary);
  for (std::int64_t sample = 0; sample < kSamplesPerFile; ++sample)
    damaged.seekp(sample * static_cast<std::int64_t>(kSampleBytes) + 99).put('x').flush();
  damaged.close();
  expect_same(epoch_of(loader), second);
  EXPECT_GE(staging->statistics().bad_copies, 1);
  EXPECT_THAT(log->lines(),
              Contains(AllOf(HasSubstr("source0.bin gives other bytes"), HasSubstr("copied again"))));
  ASSERT_TRUE(stages(*staging, 2));
  std::filesystem::resize_file(copy_of(paths[1]), 1000);
  expect_same(epoch_of(loader), third);
}

TEST_F(StagingTest, TwoJobsShareAFolder) {
  const auto paths = write_files(3);
  auto first = std::make_unique<Staging>(options());
  expect(*first, {paths[0], paths[1]});
  ASSERT_TRUE(stages(*first, 2));
  Staging second(options());
  expect(second, {paths[1], paths[2]});
  ASSERT_TRUE(stages(second, 1)) << "of what the first has copied";
  EXPECT_EQ(second.statistics().copied_bytes, 0);
  first.reset();
  ASSERT_TRUE(stages(second, 2)) << "it goes on where the first has ended";
  EXPECT_EQ(second.statistics().copied_bytes, kFileBytes);
  EXPECT_EQ(second.statistics().checked_bytes, 0) << "what it reads already needs no second look";
  EXPECT_TRUE(std::filesystem::exists(copy_of(paths[0])));
  Staging third(options());
  expect(third, {paths[1]});
  ASSERT_TRUE(stages(third, 1)) << "by the word of the second";
}

TEST_F(StagingTest, TroubleWithTheFolderIsAWarning) {
  const auto paths = write_files(2);
  const auto dataset = std::make_shared<HashedFiles>(paths);
  before_copied_piece() = [](std::uint64_t) { throw IoError("no space left on device", ENOSPC); };
  const auto full = std::make_shared<Staging>(options());
  DataLoader loader = make_loader(dataset, full);
  EXPECT_THAT(epoch_of(loader), SizeIs(6));
  EXPECT_TRUE(eventually([&] { return !log->lines().empty(); }));
  EXPECT_THAT(log->lines(),
              Contains(AllOf(HasSubstr("no space left"), HasSubstr("the file is read where it is"))));
  EXPECT_THAT(leftovers(), IsEmpty());
  before_copied_piece() = nullptr;
  const auto unwritable = std::make_shared<Staging>(
      StagingOptions{.folder = paths[0] + "/within", .floor_bytes = 0, .logger = Logger(log)});
  DataLoader other = make_loader(dataset, unwritable);
  EXPECT_THAT(epoch_of(other), SizeIs(6));
  EXPECT_TRUE(eventually([&] { return log->lines().back().find("without a copy") != std::string::npos; }));
  EXPECT_THROW(Staging({}), ConfigError);
}

TEST_F(StagingTest, ASourceThatChangesIsNotCopied) {
  const auto paths = write_files(1);
  before_copied_piece() = [&](std::uint64_t done) {
    if (done > 0) std::filesystem::last_write_time(paths[0], std::filesystem::file_time_type::clock::now());
  };
  Staging staging(options());
  expect(staging, paths);
  EXPECT_TRUE(eventually([&] { return !log->lines().empty(); }));
  EXPECT_THAT(log->lines(), Contains(HasSubstr("changed while it was copied")));
  EXPECT_THAT(CopyFolder(copies()).copies(), IsEmpty());
  EXPECT_THROW(look_at_source(path("absent.bin")), DataError);
}

TEST_F(StagingTest, ALeaseOfAProcessThatCannotBeSeenEndsInSilence) {
  const auto lease = folder_ / "lease";
  ProcessIdentity elsewhere = this_process();
  elsewhere.machine = "another";
  std::ofstream(lease) << elsewhere.to_line() << "\nabc\n";
  EXPECT_EQ(Lease::take(folder_), nullptr);
  std::filesystem::last_write_time(lease, std::filesystem::file_time_type::clock::now() - 2min);
  const auto taken = Lease::take(folder_);
  ASSERT_NE(taken, nullptr);
  EXPECT_TRUE(taken->beat());
  EXPECT_EQ(Lease::take(folder_), nullptr) << "one at a time";
  std::ofstream(lease) << elsewhere.to_line() << "\nabc\n";
  EXPECT_FALSE(taken->beat()) << "another has taken over";
}

TEST(StagingRoomTest, OnlyWhatNobodyWaitsForIsGivenUp) {
  const std::vector<StoredCopy> there = {{"a", 10}, {"b", 20}, {"c", 30}};
  const auto names = [](const std::vector<StoredCopy>& copies) {
    std::vector<std::string> all;
    for (const StoredCopy& copy : copies) all.push_back(copy.name);
    return all;
  };
  EXPECT_THAT(*make_room(there, {"b"}, 5, {.capacity = 100}, 1000), IsEmpty());
  EXPECT_THAT(names(*make_room(there, {"b"}, 40, {.capacity = 95}, 1000)), ElementsAre("a"));
  EXPECT_THAT(names(*make_room(there, {"b"}, 75, {.capacity = 95}, 1000)), ElementsAre("a", "c"));
  EXPECT_FALSE(make_room(there, {"b"}, 76, {.capacity = 95}, 1000));
  EXPECT_FALSE(make_room(there, {}, 96, {.capacity = 95}, 1000));
  EXPECT_THAT(names(*make_room(there, {"b"}, 60, {.floor = 50}, 105)), ElementsAre("a"));
  EXPECT_FALSE(make_room(there, {"a", "b", "c"}, 60, {.floor = 50}, 105));

  EXPECT_THAT(choose_victims(there, {"c", "a"}, 0), IsEmpty());
  EXPECT_THAT(names(choose_victims(there, {"c", "a"}, 1)), ElementsAre("b"));
  EXPECT_THAT(names(choose_victims(there, {"c", "a"}, 25)), ElementsAre("b", "a"));
}

}  // namespace
}  // namespace bunchtrain::data
