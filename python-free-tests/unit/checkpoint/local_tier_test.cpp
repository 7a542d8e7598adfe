// SPDX-License-Identifier: Apache-2.0
// Snapshots on a node's own disk: they count at once, come to the run folder beside the steps, and either is gone on from.

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "bunchtrain/core/error.hpp"
#include "store_fixture.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// No file grows beyond so many bytes, as on a disk that is nearly full.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit tight{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
  }
  ~SmallFiles() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, old_handler_);
  }
  SmallFiles(const SmallFiles&) = delete;
  SmallFiles& operator=(const SmallFiles&) = delete;

 private:
  void (*old_handler_)(int);
  rlimit before_{};
};

class LocalTierTest : public StoreFixture {
 protected:
  LocalTierTest() { folder_ = root_ / "run" / "checkpoints"; }
  Store make_local() { return make_store({.local = node_}); }
  /// The run's folder on the node.
  fs::path on_node() const { return node_ / first_line(folder_ / "local-tier"); }
  static std::string first_line(const fs::path& file) {
    const std::string text = read(file);
    return text.substr(0, text.find('\n'));
  }
  std::int64_t local_step() {
    const auto snapshot = make_local().load_latest();
    if (!snapshot) return -1;
    expect_intact(*snapshot);
    return snapshot->info.step;
  }
  /// One in the run folder, and a newer one on the node alone, with a component of 100 kB.
  void leave_newer_on_node() {
    Store store = make_local();
    leave_newer_on_node(store);
  }
  void leave_newer_on_node(Store& store) {
    save(store, 10);
    store.upload_all();
    Components components = make_components(20);
    components["large"].tensors.set("zeros", at::full({25000}, 0.0, at::kFloat));
    store.begin({.step = 20, .components = components, .judged = false});
    while (!store.written()) ::usleep(1000);
    const SmallFiles limit(50000);
    store.commit();
    store.finish_upload();
  }
  const fs::path node_ = root_ / "node";
};

TEST_F(LocalTierTest, CountAtOnceAndComeToTheRunFolder) {
  Store store = make_local();
  const SnapshotInfo saved = save(store, 10);
  EXPECT_EQ(saved.folder, on_node() / "step-000010");
  EXPECT_TRUE(store.uploading());
  EXPECT_EQ(latest_step(), -1) << "not published there yet";
  EXPECT_EQ(store.steps(), std::vector<std::int64_t>{10});
  while (!store.uploaded()) ::usleep(1000);
  store.finish_upload();
  EXPECT_FALSE(store.uploading());
  EXPECT_EQ(latest_step(), 10);
  EXPECT_EQ(read_info(folder_ / "step-000010").hash, read_info(on_node() / "step-000010").hash);
  EXPECT_THROW(store.finish_upload(), ConfigError);
}

TEST_F(LocalTierTest, TheNewestIsBroughtAndOldOnesLeaveTheNode) {
  Store store = make_local();
  for (const std::int64_t step : {10, 20, 30, 40}) save(store, step);  // one copy at a time
  store.upload_all();
  EXPECT_EQ(latest_step(), 40);
  EXPECT_FALSE(fs::exists(folder_ / "step-000020")) << "there was a newer one before its turn";
  EXPECT_FALSE(fs::exists(on_node() / "step-000010"));
  EXPECT_TRUE(fs::exists(on_node() / "step-000040"));
  store.tidy_up();
  EXPECT_FALSE(fs::exists(on_node())) << "all of it is in the run folder";
  save(store, 50);
  store.upload_all();
  EXPECT_EQ(latest_step(), 50);
}

TEST_F(LocalTierTest, AJudgementTravelsWithIt) {
  Store store = make_local();
  save_unjudged(store, 10);
  store.judge(10, {.metric = 0.9, .metric_name = "auc", .metadata = {{"more", "text"}}});
  EXPECT_EQ(store.best(), 10);
  store.upload_all();
  EXPECT_EQ(read_info(folder_ / "step-000010").metric, 0.9);
  EXPECT_EQ(read_info(folder_ / "step-000010").metadata.at("more"), "text");
  store.judge(10, {.metric = 0.8});
  EXPECT_EQ(read_info(folder_ / "step-000010").metric, 0.8);
  EXPECT_EQ(read_info(on_node() / "step-000010").metric, 0.8);
  EXPECT_THROW(store.judge(11, {}), CheckpointError);
}

TEST_F(LocalTierTest, LostWeightsAreNotBrought) {
  Store store = make_local();
  save(store, 10);
  save_unjudged(store, 20);  // waits for the first
  store.judge(20, {.lost = "the loss of step 21 is not finite"});
  store.upload_all();
  EXPECT_EQ(latest_step(), 10);
  EXPECT_FALSE(fs::exists(folder_ / "step-000020"));
  EXPECT_EQ(local_step(), 10);
}

TEST_F(LocalTierTest, ResumeBringsWhatTheNodeAloneHas) {
  leave_newer_on_node();
  EXPECT_EQ(latest_step(), 10);
  EXPECT_EQ(local_step(), 20);
  EXPECT_EQ(latest_step(), 20) << "brought before it was read";
  EXPECT_EQ(read_info(folder_ / "step-000020").judged, false);
}

TEST_F(LocalTierTest, AFullRunFolderCostsAWarningAndTheNextUploadTriesAgain) {
  leave_newer_on_node();
  EXPECT_THAT(sink_->warnings, testing::AllOf(HasSubstr("the snapshot of step 20 cannot be brought into"),
                                              HasSubstr("File too large"), HasSubstr(on_node().string())));
  EXPECT_FALSE(fs::exists(folder_ / "step-000020.partial"));
  {
    const SmallFiles limit(50000);  // full at the resume as well: it is read where it is
    EXPECT_EQ(local_step(), 20);
  }
  EXPECT_EQ(latest_step(), 10);
  Store store = make_local();
  EXPECT_EQ(store.load_latest()->info.step, 20);
  save(store, 30);
  store.upload_all();
  EXPECT_EQ(latest_step(), 30);
}

TEST_F(LocalTierTest, ANodeThatIsGoneOrDamagedFallsBackToTheRunFolder) {
  leave_newer_on_node();
  const fs::path model = on_node() / "step-000020" / "model.safetensors";
  std::string bytes = read(model);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write(model, bytes);
  EXPECT_EQ(local_step(), 10);
  EXPECT_THAT(sink_->warnings, HasSubstr("the nodes do not have all of it any more"));
  fs::remove_all(node_);
  EXPECT_EQ(local_step(), 10);
  Store store = make_local();
  save(store, 30);
  store.upload_all();
  EXPECT_EQ(local_step(), 30);
}

TEST_F(LocalTierTest, WhatWasDamagedOnTheNodeIsNotBroughtToTheRunFolder) {
  Store store = make_local();
  leave_newer_on_node(store);
  const fs::path model = on_node() / "step-000020" / "model.safetensors";
  std::string bytes = read(model);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write(model, bytes);
  store.upload_all();
  EXPECT_THAT(sink_->warnings, HasSubstr("is damaged: it is not what was written there"));
  EXPECT_FALSE(fs::exists(folder_ / "step-000020" / "manifest.json"));
}

TEST_F(LocalTierTest, ADamagedOneInTheRunFolderIsTakenFromTheNode) {
  Store store = make_local();
  save(store, 10);
  store.upload_all();
  save(store, 20);
  store.upload_all();
  write(folder_ / "step-000020" / "model.safetensors", "short");
  EXPECT_EQ(local_step(), 20);
  EXPECT_EQ(latest_step(), 20) << "and mended";
}

TEST_F(LocalTierTest, WhatAnotherRunLeftOnTheNodeIsNotTaken) {
  leave_newer_on_node();
  fs::remove_all(folder_);
  EXPECT_EQ(local_step(), -1);
}

TEST_F(LocalTierTest, WhatIsAbandonedLeavesNothing) {
  Store store = make_local();
  save(store, 10);
  store.begin({.step = 20, .components = make_components(20)});
  store.abandon();
  EXPECT_FALSE(fs::exists(on_node() / "step-000020.partial"));
  store.upload_all();
  EXPECT_EQ(local_step(), 10);
}

TEST_F(LocalTierTest, BadFoldersAreRefused) {
  for (const fs::path& bad : {root_ / "run", folder_, folder_ / ".." / "scratch"}) {
    try {
      make_store({.local = bad});
      ADD_FAILURE() << bad << " was accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("not in the run folder"));
    }
  }
}

TEST_F(LocalTierTest, ANameThatIsNoFolderIsRefused) {
  fs::create_directories(folder_);
  for (const char* name : {"../elsewhere\n", "\n", ".\n"}) {
    write(folder_ / "local-tier", name);
    try {
      Store store = make_local();
      save(store, 10);
      FAIL() << name << " was taken";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("does not name a folder: remove it"));
    }
  }
}

TEST_F(LocalTierTest, AFolderThatCannotBeMadeIsNamed) {
  write(root_ / "file", "");
  try {
    make_store({.local = root_ / "file" / "scratch"}).require_local();
    FAIL() << "a folder below a file was accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("file/scratch"), HasSubstr("cannot be written"),
                                             HasSubstr("checkpoint_local")));
  }
  EXPECT_NO_THROW(make_local().require_local());
}

TEST_F(LocalTierTest, AKillAtAnyMomentLosesNothingThatWasPublished) {
  {
    Store store = make_local();
    save(store, 10);
    store.upload_all();
  }
  for (int trial = 0; trial < 25; ++trial) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Store store = make_local();
      store.load_latest();
      for (std::int64_t step = 11;; step = 11 + (step + 1) % 50) {
        save(store, step);
        if (step % 2 == 0 && store.uploading()) store.finish_upload();
      }
    }
    ::usleep(static_cast<useconds_t>(4000 + 2100 * trial));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_GE(latest_step(), 10) << "trial " << trial << ": " << sink_->warnings;
    EXPECT_GE(local_step(), 10) << "trial " << trial << ": " << sink_->warnings;
  }
}

}  // namespace
}  // namespace bunchtrain::checkpoint
