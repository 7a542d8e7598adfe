// SPDX-License-Identifier: Apache-2.0
// What kills, full disks and bad sectors do to a store: one snapshot is lost at most, and it is named.

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/weights/safetensors.hpp"
#include "store_fixture.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class DamageTest : public StoreFixture {
 protected:
  void SetUp() override {
    Store store = make_store();
    save(store, 10);
    save(store, 20);
  }
  fs::path newest() const { return folder_ / "step-000020"; }
};

TEST_F(DamageTest, ATruncatedFileIsFoundAtAnyLength) {
  for (const fs::path& file : files_of(newest())) {
    const std::string whole = read(file);
    const std::size_t stride = std::max<std::size_t>(1, whole.size() / 40);
    for (std::size_t length = 0; length < whole.size(); length += stride) {
      // The manifest's last byte is its line end, which may be missing.
      if (file.filename() == "manifest.json" && length + 1 >= whole.size()) continue;
      write(file, whole.substr(0, length));
      EXPECT_EQ(latest_step(), 10) << file << " cut to " << length;
    }
    write(file, whole);
    EXPECT_EQ(latest_step(), 20);
  }
}

TEST_F(DamageTest, AFlippedBitIsFoundInEveryFile) {
  for (const fs::path& file : files_of(newest())) {
    const std::string whole = read(file);
    const std::size_t stride = std::max<std::size_t>(1, whole.size() / 60);
    for (std::size_t at = 0; at < whole.size(); at += stride) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
      write(file, damaged);
      const std::int64_t step = latest_step();
      EXPECT_EQ(step, 10) << file << ", byte " << at;
    }
    write(file, whole);
  }
}

TEST_F(DamageTest, TheDamagedOneIsNamedWithItsFault) {
  write(newest() / "model.safetensors", "short");
  EXPECT_EQ(latest_step(), 10);
  EXPECT_THAT(sink_->warnings, HasSubstr("step-000020"));
  EXPECT_THAT(sink_->warnings, HasSubstr("model.safetensors has 5 bytes instead of"));
}

TEST_F(DamageTest, AMissingFileIsNamed) {
  fs::remove(newest() / "schedule.safetensors");
  EXPECT_EQ(latest_step(), 10);
  EXPECT_THAT(sink_->warnings, HasSubstr("schedule.safetensors is missing"));
}

TEST_F(DamageTest, AMissingManifestMeansAnUnfinishedSnapshot) {
  fs::remove(newest() / "manifest.json");
  EXPECT_EQ(latest_step(), 10);
  EXPECT_THAT(sink_->warnings, HasSubstr("never finished"));
}

TEST_F(DamageTest, PointersAreNotNeeded) {
  fs::remove(folder_ / "latest");
  write(folder_ / "best", "rubbish");
  EXPECT_EQ(latest_step(), 20);
}

TEST_F(DamageTest, NoneIntactIsAnErrorAndNothingIsLost) {
  for (const char* step : {"step-000010", "step-000020"}) write(folder_ / step / "model.safetensors", "");
  try {
    make_store().load_latest();
    FAIL() << "a damaged store was accepted";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("none of the 2 checkpoints is intact"));
    EXPECT_THAT(error.what(), HasSubstr("step-000010"));
  }
  EXPECT_TRUE(fs::exists(newest()));
}

TEST_F(DamageTest, LeftoversOfAKilledSaveAreIgnoredAndCleaned) {
  fs::create_directories(folder_ / "step-000030.partial");
  write(folder_ / "step-000030.partial" / "model.safetensors", "half");
  EXPECT_EQ(latest_step(), 20);
  Store store = make_store();
  save(store, 40);
  EXPECT_FALSE(fs::exists(folder_ / "step-000030.partial"));
}

TEST_F(DamageTest, AKillBetweenTheTwoRenamesOfAReplacementLosesNothing) {
  fs::rename(newest(), folder_ / "step-000020.replaced");
  EXPECT_EQ(latest_step(), 20);
  Store store = make_store();
  save(store, 30);
  EXPECT_TRUE(fs::exists(newest()));
  EXPECT_FALSE(fs::exists(folder_ / "step-000020.replaced"));
}

TEST_F(DamageTest, AFileInThePlaceOfASnapshotIsNamed) {
  write(folder_ / "step-000030", "not a folder");
  EXPECT_EQ(latest_step(), 20);
  EXPECT_THAT(sink_->warnings, HasSubstr("step-000030 is left out: it is a file"));
}

TEST_F(DamageTest, WalkingBackSaysWhatItCostsEveryTime) {
  write(newest() / "manifest.json", "{}");
  for (int start = 0; start < 2; ++start) {
    sink_->warnings.clear();
    EXPECT_EQ(latest_step(), 10);
    EXPECT_THAT(sink_->warnings, HasSubstr("step-000020 is left out"));
    EXPECT_THAT(sink_->warnings, HasSubstr("going on from step 10"));
  }
}

/// Evaluation takes the snapshot that was asked for, or none.
class ExactDamageTest : public StoreFixture {
 protected:
  void SetUp() override {
    Store store = make_store();
    save(store, 10, 0.7);
    save(store, 20, 0.9);
    save(store, 30, 0.8);
  }
  std::string refusal(std::string_view which) {
    try {
      make_store().load(which);
      return "nothing was refused";
    } catch (const CheckpointError& error) {
      return error.what();
    }
  }
};

TEST_F(ExactDamageTest, ADamagedBestIsRefusedWithTheOthersNamed) {
  for (const char* file : {"model.safetensors", "manifest.json"}) {
    const std::string whole = read(folder_ / "step-000020" / file);
    write(folder_ / "step-000020" / file, "short");
    const std::string text = refusal("best");
    EXPECT_THAT(text, HasSubstr("step-000020")) << file;
    EXPECT_THAT(text, HasSubstr("choose another by checkpoint: step-000010, step-000030")) << file;
    EXPECT_EQ(make_store().load("latest")->info.step, 30) << file;
    EXPECT_EQ(make_store().load("step-000010")->info.step, 10) << file;
    write(folder_ / "step-000020" / file, whole);
  }
}

TEST_F(ExactDamageTest, WithoutThePointerADamagedManifestMayBeTheBest) {
  write(folder_ / "step-000010" / "manifest.json", "short");
  EXPECT_EQ(make_store().load("best")->info.step, 20);
  fs::remove(folder_ / "best");
  EXPECT_THAT(refusal("best"), HasSubstr("step-000010"));
}

TEST_F(ExactDamageTest, OnlyWhatIsReadMustBeIntact) {
  write(folder_ / "step-000020" / "schedule.safetensors", "short");
  EXPECT_EQ(make_store().load("best", {"model"})->info.step, 20);
  EXPECT_THAT(refusal("best"), HasSubstr("schedule.safetensors has 5 bytes"));
}

TEST_F(DamageTest, AManifestCannotNameFilesElsewhere) {
  std::string manifest = read(newest() / "manifest.json");
  for (std::size_t at; (at = manifest.find("model.safetensors")) != std::string::npos;)
    manifest.replace(at, 17, "../../x.safeteors");
  write(newest() / "manifest.json", manifest);
  EXPECT_EQ(latest_step(), 10);
}

TEST_F(DamageTest, AFullDiskLeavesTheEarlierOnes) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  for (rlim_t bytes : {0, 50, 200, 500}) {
    const rlimit tight{.rlim_cur = bytes, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tight);
    Store store = make_store();
    std::string message;
    try {
      save(store, 30);
    } catch (const CheckpointError& error) {
      message = error.what();
    }
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_THAT(message, HasSubstr("cannot save a checkpoint of step 30")) << bytes;
    EXPECT_THAT(message, HasSubstr("File too large")) << bytes;
    EXPECT_EQ(latest_step(), 20);
    EXPECT_FALSE(fs::exists(folder_ / "step-000030.partial"));
  }
  std::signal(SIGXFSZ, old_handler);
}

TEST_F(DamageTest, ANewManifestThatWasNotFinishedLeavesTheOld) {
  write(newest() / "manifest.json.partial-4545", "{\"cont");
  EXPECT_EQ(latest_step(), 20);
  make_store().judge(20, {.metric = 0.5});
  EXPECT_FALSE(fs::exists(newest() / "manifest.json.partial-4545"));
  EXPECT_EQ(read_info(newest()).metric, 0.5);
}

TEST_F(DamageTest, TidyingUpFinishesWhatAKillInterrupted) {
  write(folder_ / "step-000030", "not a folder");
  fs::create_directories(folder_ / "step-000005.partial");  // half removed
  write(newest() / "manifest.json.partial-4545", "{\"cont");
  write(folder_ / "latest", "step-000010\n");
  make_store().tidy_up();
  EXPECT_FALSE(fs::exists(folder_ / "step-000005.partial"));
  EXPECT_FALSE(fs::exists(newest() / "manifest.json.partial-4545"));
  EXPECT_EQ(read(folder_ / "latest"), "step-000020\n");
  EXPECT_EQ(latest_step(), 20);
}

TEST_F(DamageTest, AFullDiskIsAnIoErrorThatNamesTheFile) {
  // /dev/full has no room: what is being written is a link to it.
  const std::string model = "model.safetensors.partial-" + std::to_string(::getpid());
  fs::create_symlink("/dev/full", root_ / model);
  try {
    weights::write_safetensors(root_ / "model.safetensors",
                               {.tensors = make_components(1)["model"].tensors, .metadata = {}});
    FAIL() << "written to a full disk";
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), ENOSPC);
    EXPECT_THAT(error.what(), HasSubstr("model.safetensors"));
  }
}

TEST_F(DamageTest, AFolderThatCannotBeWrittenIsNamed) {
  write(root_ / "file", "");
  Store store(root_ / "file" / "checkpoints", comm::Communicator::self());
  try {
    save(store, 1);
    FAIL() << "a folder below a file was accepted";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("file/checkpoints"));
  }
}

TEST_F(DamageTest, AKillAtAnyMomentLeavesAValidSnapshot) {
  for (int trial = 0; trial < 30; ++trial) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Store store = make_store();
      for (std::int64_t step = 30;; ++step) save(store, step % 37);  // replaces, prunes and begins anew
    }
    ::usleep(static_cast<useconds_t>(2000 + 1700 * trial));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_GE(latest_step(), 0) << "trial " << trial << ": " << sink_->warnings;
  }
  Store store = make_store();
  save(store, 99);
  for (const std::string& name : names()) EXPECT_EQ(name.find(".partial"), std::string::npos) << name;
}

using Json = nlohmann::ordered_json;

/// `text`, a manifest, with another content and the checksum of that.
std::string changed_manifest(const std::string& text, void (*change)(Json& content)) {
  Json manifest = Json::parse(text);
  change(manifest["content"]);
  manifest["xxh3_128"] = hash_hex(manifest["content"].dump(1));
  return manifest.dump(1);
}

/// A manifest that some other program wrote: its checksum is right, its content is not.
TEST_F(DamageTest, AnotherManifestThanOursIsNamedWithItsFault) {
  struct Change {
    void (*make)(Json& content);
    std::string fault;
  };
  const std::string ours = read(newest() / "manifest.json");
  for (const auto& [make, fault] :
       std::vector<Change>{{[](Json& content) { content["format"] = "zip"; }, "it is of another format"},
                           {[](Json& content) { content["version"] = 3; },
                            "its version is 3, this build reads 1 to 2; use the bunchtrain that wrote it"},
                           {[](Json& content) { content["version"] = "two"; }, "its version is \"two\""},
                           {[](Json& content) { content["files"][0]["name"] = "other.safetensors"; },
                            "a file of component 'model' has the wrong name"}}) {
    write(newest() / "manifest.json", changed_manifest(ours, make));
    sink_->warnings.clear();
    EXPECT_EQ(latest_step(), 10);
    EXPECT_THAT(sink_->warnings, testing::AllOf(HasSubstr("step-000020"), HasSubstr(fault)));
  }
}

/// Slices that another program wrote, or a cosmic ray: checked before anything is read.
TEST_F(DamageTest, SlicesThatAreNotTheWholeAreNamed) {
  struct Change {
    void (*make)(Json& tensor);
    std::string fault;
  };
  const std::string ours = read(newest() / "manifest.json");
  for (const auto& [make, fault] : std::vector<Change>{
           {[](Json& tensor) {
              tensor["offset"] = {0, 0}, tensor["sizes"] = {2, 4};
            },
            "tensor 'weight' of component 'model' has 8 of its 12 elements only"},
           {[](Json& tensor) {
              tensor["strides"] = {4, 1}, tensor["range"] = {1, 11};
            },
            "has 11 of its 12 elements"},
           {[](Json& tensor) {
              tensor["strides"] = {4, 1}, tensor["range"] = {1, 12};
            },
            "lies outside of the tensor"},
           {[](Json& tensor) {
              tensor["strides"] = {5, 1}, tensor["range"] = {0, 12};
            },
            "strides that are not dense"},
           {[](Json& tensor) {
              tensor["offset"] = {3, 0}, tensor["sizes"] = {3, 4};
            },
            "lies outside of the tensor"},
           {[](Json& tensor) {
              tensor["shape"] = {-3, 4};
            },
            "cannot be counted"},
           {[](Json& tensor) {
              tensor["shape"] = {4, 3};
            },
            "does not hold 'weight' as its manifest says"},
           {[](Json& tensor) { tensor["dtype"] = "F64"; }, "does not hold 'weight' as its manifest says"},
           {[](Json& tensor) { tensor["dtype"] = "C64"; }, "tensor 'weight' has an unknown dtype"},
           {[](Json& tensor) { tensor["shape"] = "all"; }, "manifest.json is damaged"},
           {[](Json& tensor) { tensor["name"] = "height"; },
            "does not hold 'height' as its manifest says"}}) {
    Json manifest = Json::parse(ours);
    Json& content = manifest["content"];
    make(content["files"][0]["tensors"][0]);
    manifest["xxh3_128"] = hash_hex(content.dump(1));
    write(newest() / "manifest.json", manifest.dump(1));
    sink_->warnings.clear();
    EXPECT_EQ(latest_step(), 10) << fault;
    EXPECT_THAT(sink_->warnings, testing::AllOf(HasSubstr("step-000020"), HasSubstr(fault)));
  }
  Json manifest = Json::parse(ours);
  Json& tensors = manifest["content"]["files"][0]["tensors"];
  tensors.push_back(Json(tensors[0]));
  manifest["xxh3_128"] = hash_hex(manifest["content"].dump(1));
  write(newest() / "manifest.json", manifest.dump(1));
  EXPECT_EQ(latest_step(), 10);
  EXPECT_THAT(sink_->warnings, HasSubstr("has elements twice: [0:3, 0:4] of [3, 4] in model.safetensors"));
}

/// Snapshots of version 0.1, whose files say themselves what they hold.
TEST_F(DamageTest, FormatOneStaysReadableAndIsJudgedAsWhatItIs) {
  for (const char* step : {"step-000010", "step-000020"}) {
    const auto to_format_one = [](Json& content) {
      content["version"] = 1;
      for (Json& file : content["files"]) file.erase("tensors");
    };
    const fs::path manifest = folder_ / step / "manifest.json";
    write(manifest, changed_manifest(read(manifest), to_format_one));
  }
  EXPECT_EQ(latest_step(), 20);
  make_store().judge(20, {.metric = 0.5});
  EXPECT_EQ(Json::parse(read(newest() / "manifest.json"))["content"]["version"], 1);
  EXPECT_EQ(latest_step(), 20);
  const WantedSlices rows = {{"model", {{"weight", tensor::Slice::box({3, 4}, {1, 0}, {2, 4})}}}};
  EXPECT_EQ(read_snapshot(newest(), 0, 1, rows).components.at("model").tensors["weight"].sizes(),
            (std::vector<std::int64_t>{2, 4}));
}

TEST_F(DamageTest, AManifestOfDeepListsIsNone) {
  write(newest() / "manifest.json", std::string(1 << 20, '['));
  EXPECT_EQ(latest_step(), 10);
  EXPECT_THAT(sink_->warnings, HasSubstr("manifest.json is damaged: its lists nest more than 16 deep"));
}

TEST_F(DamageTest, AHugeManifestIsNone) {
  fs::resize_file(newest() / "manifest.json", (64 << 20) + 1);
  EXPECT_EQ(latest_step(), 10);
  EXPECT_THAT(sink_->warnings, HasSubstr("manifest.json has 67108865 bytes: that is no manifest"));
}

/// Files of the kernel give the errors of a failing disk: EINVAL, which stays, and EIO, which may pass.
TEST_F(DamageTest, AManifestThatTheSystemDoesNotReadIsNamedWithTheReason) {
  for (const char* step : {"step-000010", "step-000020"}) {
    fs::remove(folder_ / step / "manifest.json");
    fs::create_symlink("/proc/self/clear_refs", folder_ / step / "manifest.json");
  }
  try {
    make_store().load_latest();
    FAIL() << "manifests that cannot be read were accepted";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(HasSubstr("none of the 2 checkpoints is intact"), HasSubstr("cannot read")));
  }
  fs::remove(newest() / "manifest.json");
  fs::create_symlink("/proc/self/mem", newest() / "manifest.json");
  try {
    make_store().load_latest();
    FAIL() << "manifests that cannot be read were accepted";
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), EIO);
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("none of the 2 checkpoints can be read"),
                                             HasSubstr("step-000020"), HasSubstr("Input/output error")));
  }
}

TEST_F(DamageTest, TooManyOpenFilesArePassingTroubleOfASave) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  Store store = make_store();
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  int code = 0;
  std::string message;
  try {
    save(store, 30);
  } catch (const IoError& error) {
    code = error.code();
    message = error.what();
  }
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(code, EMFILE);
  EXPECT_THAT(message, testing::AllOf(HasSubstr("cannot save a checkpoint of step 30"),
                                      HasSubstr("Too many open files")));
  EXPECT_EQ(latest_step(), 20);
}

/// A file of the kernel that claims to be empty and refuses to be read.
TEST_F(DamageTest, AFileThatTheSystemDoesNotReadIsNamedWithTheReason) {
  const auto claim_nothing = [](Json& content) { content["files"][0]["bytes"] = 0; };
  write(newest() / "manifest.json", changed_manifest(read(newest() / "manifest.json"), claim_nothing));
  fs::remove(newest() / "model.safetensors");
  fs::create_symlink("/proc/self/clear_refs", newest() / "model.safetensors");
  EXPECT_EQ(latest_step(), 10);
  EXPECT_THAT(sink_->warnings, testing::AllOf(HasSubstr("step-000020"), HasSubstr("model.safetensors"),
                                              HasSubstr("Invalid argument")));
}

}  // namespace
}  // namespace bunchtrain::checkpoint
