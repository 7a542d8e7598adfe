// SPDX-License-Identifier: Apache-2.0
// Files that are damaged, or change, while a loader reads them.
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>

#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "jet_file_fixture.hpp"

namespace {

/// A sector that cannot be read, and with which errno.
std::atomic<off_t> bad_sector = -1;
std::atomic<int> sector_fault = 0;

}  // namespace

/// Stands before that of the C library in this program.
extern "C" ssize_t pread(int descriptor, void* out, std::size_t bytes, off_t offset) {
  using Pread = ssize_t (*)(int, void*, std::size_t, off_t);
  static const auto system_pread = reinterpret_cast<Pread>(dlsym(RTLD_NEXT, "pread"));
  const off_t sector = bad_sector;
  if (sector >= offset && sector < offset + static_cast<off_t>(bytes)) {
    errno = sector_fault;
    return -1;
  }
  return system_pread(descriptor, out, bytes, offset);
}

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::int64_t kJets = 4000;
constexpr std::int64_t kDamaged = 80;  // jets of a range of two chunks

/// Chunks of the particles are damaged after the file was opened, with its time as it was: rot of the disk.
class BadDataTest : public JetFileTest {
 protected:
  void SetUp() override {
    JetFileTest::SetUp();
    file_ = write_jets("jets.h5", {.rows = kJets});
    card_ = write_card();
  }

  DatasetPtr open(IoEngine io = IoEngine::automatic) const {
    return JetDataset({.files = {file_}, .card = card_, .io = io}).all();
  }
  void damage(hsize_t row) const {
    const auto written = fs::last_write_time(file_);
    const auto [offset, bytes] = chunk_at(row);
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset + bytes / 2));
    file.write("\xff\x00\xff\x00\xff\x00\xff\x00", 8);
    file.close();
    fs::last_write_time(file_, written);
  }
  std::pair<haddr_t, hsize_t> chunk_at(hsize_t row) const {
    const hid_t file = H5Fopen(file_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t dataset = H5Dopen2(file, "particles", H5P_DEFAULT);
    const hsize_t place[] = {row / 40 * 40, 0, 0};
    unsigned mask = 0;
    haddr_t offset = 0;
    hsize_t bytes = 0;
    EXPECT_GE(H5Dget_chunk_info_by_coord(dataset, place, &mask, &offset, &bytes), 0);
    H5Dclose(dataset);
    H5Fclose(file);
    return {offset, bytes};
  }

  std::string file_, card_;
};

/// Chunks are decoded anew in every epoch, so that files are read all the time.
DataLoaderOptions rereading(BadData on_bad, int rank = 0, int world = 1) {
  return {.global_batch = 64, .rank = rank, .world_size = world, .prefetch_bytes = 1 << 12, .on_bad = on_bad};
}

std::string error_of(DataLoader& loader) {
  try {
    for ([[maybe_unused]] const Batch& batch : loader) continue;
  } catch (const DataError& error) {
    return error.message();
  }
  return "no exception";
}

/// Weight of every sample delivered, once each.
void add_weights(const Batch& batch, std::map<std::int64_t, float>& weights) {
  const at::Tensor weight = batch["weight"];
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    const float value = weight.const_data_ptr<float>()[i];
    EXPECT_TRUE(weights.emplace(batch.sample_ids.const_data_ptr<std::int64_t>()[i], value).second);
    if (value == 0) {
      EXPECT_EQ(batch["features"][i].abs().sum().item<float>(), 0);
    }
  }
}

bool is_damaged(std::int64_t sample) { return sample >= 1600 && sample < 1600 + kDamaged; }

TEST_F(BadDataTest, ADamagedChunkEndsTheEpochWithFileDatasetAndRows) {
  DataLoader loader(open(), rereading(BadData::stop));
  damage(1650);
  EXPECT_THAT(error_of(loader), AllOf(HasSubstr(file_), HasSubstr("dataset 'particles', rows 1640 to 1679")));
}

TEST_F(BadDataTest, ItsSamplesHaveWeightZeroOnceOnAnyNumberOfRanks) {
  const DatasetPtr jets = open();
  damage(1650);
  for (const int world : {1, 2, 3}) {
    std::map<std::int64_t, float> weights;
    std::int64_t bad = 0, counted = 0;
    for (int rank = 0; rank < world; ++rank) {
      DataLoader loader(jets, rereading(BadData::zero_weight, rank, world));
      for (const Batch& batch : loader) {
        add_weights(batch, weights);
        bad += batch.bad_samples;
      }
      counted += loader.statistics().bad_samples;
      if (loader.statistics().bad_samples > 0) {
        EXPECT_THAT(loader.statistics().first_bad, AllOf(HasSubstr(file_), HasSubstr("rows 1640 to 1679")));
      }
    }
    EXPECT_EQ(bad, kDamaged) << world;
    EXPECT_EQ(counted, kDamaged) << world;
    ASSERT_EQ(weights.size(), kJets) << world;
    for (const auto& [sample, weight] : weights) EXPECT_EQ(weight, is_damaged(sample) ? 0 : 1) << sample;
  }
}

TEST_F(BadDataTest, AResumedEpochCountsWhatIsLeftOfIt) {
  const DatasetPtr jets = open();
  damage(1650);
  DataLoader first(jets, rereading(BadData::zero_weight));
  std::int64_t bad = 0;
  for (int step = 0; step < 30; ++step) bad += first.next().value().bad_samples;
  for (int rank = 0; rank < 2; ++rank) {
    DataLoader rest(jets, rereading(BadData::zero_weight, rank, 2));
    rest.load(first.state());
    while (const auto batch = rest.next()) bad += batch->bad_samples;
  }
  EXPECT_EQ(bad, kDamaged);
}

TEST_F(BadDataTest, TheyAreLeftOutOfPassesWithoutGradients) {
  const DatasetPtr jets = open();
  damage(1650);
  auto options = rereading(BadData::leave_out);
  options.shuffle = false;
  DataLoader loader(jets, options);
  std::set<std::int64_t> seen;
  std::int64_t bad = 0;
  for (const Batch& batch : loader) {
    bad += batch.bad_samples;
    EXPECT_EQ(batch["features"].size(0), batch.size());
    for (std::int64_t i = 0; i < batch.size(); ++i)
      seen.insert(batch.sample_ids.const_data_ptr<std::int64_t>()[i]);
  }
  EXPECT_EQ(bad, kDamaged);
  EXPECT_EQ(seen.size(), kJets - kDamaged);
  for (const std::int64_t sample : seen) EXPECT_FALSE(is_damaged(sample)) << sample;
}

TEST_F(BadDataTest, DamageAtTheBeginningIsNoHindrance) {
  const DatasetPtr jets = open();
  damage(0);
  DataLoader loader(jets, rereading(BadData::zero_weight));
  std::int64_t bad = 0;
  for (const Batch& batch : loader) bad += batch.bad_samples;
  EXPECT_EQ(bad, kDamaged);
}

TEST_F(BadDataTest, SectorsThatCannotBeReadAreDamageAndOtherFaultsAreNot) {
  const DatasetPtr jets = open(IoEngine::pread);
  DataLoader stops(jets, rereading(BadData::stop)), skips(jets, rereading(BadData::zero_weight)),
      stale(jets, rereading(BadData::zero_weight));
  bad_sector = static_cast<off_t>(chunk_at(2000).first) + 5;
  sector_fault = EIO;
  std::int64_t bad = 0;
  for (const Batch& batch : skips) bad += batch.bad_samples;
  EXPECT_EQ(bad, kDamaged);
  EXPECT_THAT(skips.statistics().first_bad, AllOf(HasSubstr(file_), HasSubstr("cannot be read at byte")));
  EXPECT_THROW(while (stops.next()){}, IoError);
  sector_fault = ESTALE;
  EXPECT_THROW(while (stale.next()){}, IoError);
  bad_sector = -1;
}

TEST_F(BadDataTest, FilesThatChangeWhileTheyAreReadEndTheEpochWhateverIsChosen) {
  const auto change = [&](const std::string& how) {
    if (how == "written to") std::fstream(file_, std::ios::in | std::ios::out) << "\x89";
    if (how == "truncated") fs::resize_file(file_, fs::file_size(file_) / 2);
    if (how == "replaced") {
      fs::copy_file(file_, path("other"));
      fs::rename(path("other"), file_);
    }
  };
  for (const auto& [io, on_bad] :
       {std::pair(IoEngine::pread, BadData::stop), std::pair(IoEngine::hdf5, BadData::zero_weight)})
    for (const std::string how : {"written to", "truncated", "replaced"}) {
      fs::remove(file_);
      write_jets("jets.h5", {.rows = kJets});
      fs::last_write_time(file_, fs::file_time_type::clock::now() - std::chrono::hours(1));
      DataLoader loader(open(io), rereading(on_bad));
      ASSERT_TRUE(loader.next());
      change(how);
      loader.load(loader.state());                                  // what was read ahead is forgotten
      std::this_thread::sleep_for(std::chrono::milliseconds(300));  // files are looked at now and then
      EXPECT_THAT(error_of(loader), AllOf(HasSubstr(file_), HasSubstr(how), HasSubstr("while in use")))
          << to_string(io);
    }
}

DatasetPtr labelled_hits() {
  NamedTensors tensors;
  tensors.set("hits", at::ones({40, 2}));
  tensors.set("label", at::arange(40, at::kLong).remainder(2));
  return make_ragged_dataset(std::move(tensors), {"hits", "label"}, at::arange(0, 41, 10, at::kLong), 1);
}

TEST_F(BadDataTest, ElementsWithoutWeightsCannotBeLeftOutByWeight) {
  try {
    DataLoader loader(labelled_hits(), {.global_batch = 2, .on_bad = BadData::zero_weight});
    loader.next();
    FAIL() << "no exception";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(), AllOf(HasSubstr("weights"), HasSubstr("on_bad")));
  }
  DataLoader loader(labelled_hits(), {.global_batch = 2, .on_bad = BadData::leave_out});
  EXPECT_TRUE(loader.next());
}

// Many files are read within a few descriptors: those not read for long are closed and opened again.
TEST_F(BadDataTest, HundredsOfFilesAreReadWithinFewDescriptors) {
  constexpr int kFiles = 240;
  for (int i = 0; i < kFiles; ++i)
    write_jets("many" + std::to_string(i) + ".h5",
               {.rows = 8, .chunk = 4, .jet_chunk = 8, .first_row = 8 * i});
  const auto sum_of = [&](IoEngine io) {
    const JetDataset jets({.files = {path("many*.h5")}, .card = card_, .io = io});
    DataLoader loader(jets.all(), {.global_batch = 64, .threads = 2, .prefetch_bytes = 1 << 12});
    double sum = 0;
    for (int epoch = 0; epoch < 2; ++epoch)
      for (const Batch& batch : loader) sum += batch["features"].to(at::kDouble).abs().sum().item<double>();
    return sum;
  };
  const double expected = sum_of(IoEngine::pread);
  for (const IoEngine io : {IoEngine::pread, IoEngine::hdf5}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const rlimit few{.rlim_cur = 64, .rlim_max = 64};
      setrlimit(RLIMIT_NOFILE, &few);
      double sum = 0;
      try {
        sum = sum_of(io);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
      }
      _exit(std::abs(sum - expected) < 1e-6 * expected ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << to_string(io);
  }
}

}  // namespace
}  // namespace bunchtrain::data
