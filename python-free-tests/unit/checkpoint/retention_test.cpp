// SPDX-License-Identifier: Apache-2.0
// Which snapshots stay, and how often a save looks at those that are there.

#include "retention.hpp"

#include <gmock/gmock.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "snapshot_folders.hpp"
#include "store_fixture.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using namespace std::chrono_literals;

/// One in a list, the latest first.
struct Saved {
  std::int64_t step;
  std::optional<double> metric = {};
  std::chrono::seconds at = 0s;
  bool judged = true;
  std::string metric_name = "auc";
};

std::vector<Manifest> manifests_of(const std::vector<Saved>& saved) {
  std::vector<Manifest> manifests;
  for (const Saved& one : saved)
    manifests.push_back({.info = {.folder = snapshot_folder("run", one.step),
                                  .step = one.step,
                                  .sequence = one.step,
                                  .saved_at = std::chrono::sys_seconds(one.at),
                                  .metric = one.metric,
                                  .judged = one.judged,
                                  .hash = {}},
                         .metric_name = one.metric_name,
                         .files = {}});
  return manifests;
}

std::vector<std::int64_t> steps_of(const std::vector<const Manifest*>& manifests) {
  std::vector<std::int64_t> steps;
  for (const Manifest* manifest : manifests) steps.push_back(manifest->info.step);
  return steps;
}

std::vector<std::int64_t> superfluous(const std::vector<Saved>& saved, const StoreOptions& options) {
  const auto manifests = manifests_of(saved);
  return steps_of(find_superfluous(manifests, options));
}

TEST(RetentionTest, TheBestAreThoseOfEachMetricAndOfEqualsTheNewer) {
  const std::vector<Saved> saved = {{.step = 6, .metric = 0.4},
                                    {.step = 5, .metric = 0.9},
                                    {.step = 4},
                                    {.step = 3, .metric = 0.2, .metric_name = "purity"},
                                    {.step = 2, .metric = 0.9},
                                    {.step = 1, .metric = 0.7}};
  const auto manifests = manifests_of(saved);
  EXPECT_THAT(steps_of(find_bests(manifests)), ElementsAre(5, 3));
  EXPECT_THAT(steps_of(find_bests(manifests, 2)), ElementsAre(5, 2, 3));
  EXPECT_THAT(steps_of(find_bests(manifests, 9)), ElementsAre(5, 2, 1, 6, 3));
  EXPECT_TRUE(find_bests(manifests, 0).empty());
  EXPECT_THAT(superfluous(saved, {.keep_last = 1, .keep_best = 2}), ElementsAre(4, 1));
  EXPECT_THAT(superfluous(saved, {.keep_last = 2, .keep_best = 0}), ElementsAre(4, 3, 2, 1));
}

TEST(RetentionTest, AnUnjudgedOnePushesOutNoGoodOne) {
  const std::vector<Saved> saved = {{.step = 3, .judged = false}, {.step = 2}, {.step = 1}};
  EXPECT_THAT(superfluous(saved, {.keep_last = 1}), ElementsAre(1));
  EXPECT_TRUE(superfluous({}, {}).empty());
}

TEST(RetentionTest, TheOldestOfEverySpanStaysWhateverComesLater) {
  std::vector<Saved> saved;
  std::vector<std::int64_t> kept;
  for (std::int64_t step = 0; step < 48; ++step) {  // one every 25 minutes, one by one as a run writes them
    saved.insert(saved.begin(), {.step = step, .at = 1000h + 25min * step});
    const auto gone = superfluous(saved, {.keep_last = 1, .keep_every = 6h});
    std::erase_if(
        saved, [&](const Saved& one) { return std::find(gone.begin(), gone.end(), one.step) != gone.end(); });
  }
  for (const Saved& one : saved) kept.push_back(one.step);
  // 1000 h is 4 h into a span of six: the next begin at 1002, 1008, 1014 and 1020 h.
  EXPECT_THAT(kept, ElementsAre(47, 34, 20, 5, 0)) << "the newest, and the first after each border";
}

TEST(RetentionTest, BeforeTheEpochTooAndWithoutATimeNone) {
  auto manifests =
      manifests_of({{.step = 4, .at = 1h}, {.step = 3, .at = -1h}, {.step = 2, .at = -2h}, {.step = 1}});
  manifests.back().info.saved_at.reset();
  EXPECT_THAT(steps_of(find_superfluous(manifests, {.keep_last = 1, .keep_every = 24h})), ElementsAre(3, 1));
}

class RetentionStoreTest : public StoreFixture {
 protected:
  /// As if it had been saved then.
  void set_time(std::int64_t step, std::chrono::seconds at) {
    Manifest manifest = read_manifest(snapshot_folder(folder_, step));
    manifest.info.saved_at = std::chrono::sys_seconds(at);
    write_manifest(manifest.info.folder, manifest);
  }
};

TEST_F(RetentionStoreTest, ASnapshotSaysWhenItWasTaken) {
  Store store = make_store();
  const auto before = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const SnapshotInfo saved = save(store, 1);
  ASSERT_TRUE(saved.saved_at.has_value());
  EXPECT_GE(*saved.saved_at, before);
  EXPECT_LE(*saved.saved_at, std::chrono::system_clock::now());
  EXPECT_EQ(read_info(folder_ / "step-000001").saved_at, saved.saved_at);
  store.judge(1, {.metric = 0.5});
  EXPECT_EQ(store.load("best")->info.saved_at, saved.saved_at);
}

TEST_F(RetentionStoreTest, AllRulesTogether) {
  Store store = make_store({.keep_last = 2, .keep_best = 1, .keep_every = 24h});
  const std::array metrics = {0.1, 0.8, 0.3, 0.9, 0.2, 0.1, 0.1};
  const std::array times = {1h, 30h, 49h, 50h, 51h};  // of the first days; those of today are the newest two
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    save(store, static_cast<std::int64_t>(i) + 1, metrics[i]);
    if (i < times.size()) set_time(static_cast<std::int64_t>(i) + 1, times[i]);
  }
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step-000001", "step-000002", "step-000003",
                                   "step-000004", "step-000006", "step-000007"));
}

TEST_F(RetentionStoreTest, BadRulesAreRefused) {
  EXPECT_THROW(make_store({.keep_best = -1}), ConfigError);
  EXPECT_THROW(make_store({.keep_every = -1h}), ConfigError);
  EXPECT_NO_THROW(make_store({.keep_best = 0, .metric = ""}));
}

/// Counts how often manifests of the folders that are there now are opened.
class OpenedManifests {
 public:
  explicit OpenedManifests(const fs::path& store) : events_(::inotify_init1(IN_NONBLOCK)) {
    for (const auto& entry : fs::directory_iterator(store))
      if (entry.is_directory()) ::inotify_add_watch(events_, entry.path().c_str(), IN_OPEN | IN_CLOSE);
  }
  ~OpenedManifests() { ::close(events_); }
  OpenedManifests(const OpenedManifests&) = delete;
  OpenedManifests& operator=(const OpenedManifests&) = delete;

  int count() const {
    int opened = 0;
    alignas(inotify_event) std::array<char, 1 << 16> bytes;
    for (ssize_t got; (got = ::read(events_, bytes.data(), bytes.size())) > 0;)
      for (ssize_t at = 0; at < got;) {
        const auto* event = reinterpret_cast<const inotify_event*>(bytes.data() + at);
        if ((event->mask & IN_OPEN) != 0 && event->len > 0 && std::string_view(event->name) == kManifestName)
          ++opened;
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      }
    return opened;
  }

 private:
  int events_;
};

TEST_F(RetentionStoreTest, ASaveReadsEveryManifestOnce) {
  Store store = make_store({.keep_last = 5});
  for (std::int64_t step = 1; step <= 4; ++step) save(store, step, 0.1);
  const OpenedManifests opened(folder_);
  save_unjudged(store, 5);
  store.judge(5, {.metric = 0.7});
  EXPECT_EQ(store.best(), 5);
  EXPECT_EQ(store.steps().size(), 5U);
  EXPECT_EQ(opened.count(), 4);
  EXPECT_EQ(read(folder_ / "best"), "step-000005\n");
}

TEST_F(RetentionStoreTest, WhatOthersRemovedIsSeenByTheNextSave) {
  Store store = make_store({.keep_last = 5});
  for (std::int64_t step = 1; step <= 3; ++step) save(store, step, 0.1 * static_cast<double>(step));
  fs::remove_all(folder_ / "step-000003");
  save(store, 4, 0.15);
  EXPECT_EQ(store.best(), 2);
  EXPECT_EQ(read(folder_ / "best"), "step-000002\n");
  EXPECT_TRUE(sink_->warnings.empty()) << sink_->warnings;
}

}  // namespace
}  // namespace bunchtrain::checkpoint
