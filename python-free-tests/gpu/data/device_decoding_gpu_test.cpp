// SPDX-License-Identifier: Apache-2.0
// The card makes of stored bytes what the host makes of them; where there is no card it says so.
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "gpu/device_under_test.hpp"
#include "unit/data/jet_file_fixture.hpp"

namespace bunchtrain::data {
namespace {

class DeviceDecodingGpuTest : public JetFileTest {
 protected:
  /// 3,000 jets in chunks without a filter, or shuffled.
  DatasetPtr open(bool ragged, bool shuffled) const {
    const JetFile jets{.rows = 3000};
    Hdf5Writer writer(path("plain.h5"));
    writer.create_dataset("jets", jets.jets(), 128, 0);
    writer.create_dataset("particles", jets.particles(), 40, 0);
    writer.create_dataset("event", at::arange(jets.rows, at::kLong).div(4, "floor"), 64);
    writer.create_dataset("label", jets.labels(), 64);
    writer.commit();
    if (shuffled) shuffle(jets.particles());
    return JetDataset({.files = {path("plain.h5")}, .card = write_card(), .ragged = ragged}).all();
  }
  /// Writes the particles anew.
  void shuffle(const at::Tensor& particles) const {
    const at::Tensor values = particles.contiguous();
    const auto* first = values.const_data_ptr<float>();
    const auto rows = static_cast<hsize_t>(values.size(0));
    const hid_t file = H5Fopen(path("plain.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    EXPECT_GE(H5Ldelete(file, "particles", H5P_DEFAULT), 0);
    write_floats(file, "particles", {rows, kSlots, 4}, {first, first + values.numel()},
                 {"shuffled", {37, kSlots, 4}, [](hid_t create) { H5Pset_shuffle(create); }});
    H5Fclose(file);
  }
  static DataLoaderOptions options(c10::Device device, DecodeOn decode, int threads) {
    return {.global_batch = 192,
            .seed = 4,
            .threads = threads,
            .prefetch_bytes = 1 << 16,  // ranges come and go
            .device = device,
            .decode = decode};
  }
};

/// Functions of columns within the error of the host's; all else has the same bits.
void expect_same(const Batch& found, const Batch& expected) {
  EXPECT_TRUE(found.sample_ids.cpu().equal(expected.sample_ids));
  for (const auto& [name, tensor] : expected.tensors) {
    const at::Tensor on_host = found[name].cpu();
    if (name == "features") {
      EXPECT_LE((on_host - tensor).abs().div(tensor.abs().add(1)).max().item<double>(), 2e-5);
      EXPECT_TRUE(on_host.select(-1, 1).equal(tensor.select(-1, 1))) << "what is standardised alone";
    } else {
      EXPECT_TRUE(on_host.equal(tensor)) << name << " of step " << expected.step;
    }
  }
}

TEST_F(DeviceDecodingGpuTest, BatchesAreThoseOfTheHost) {
  const c10::Device device = test::device_under_test();
  for (const auto& [ragged, shuffled] : {std::pair(false, false), {true, false}, {false, true}}) {
    const DatasetPtr jets = open(ragged, shuffled);
    ASSERT_EQ(jets->device_support().why_not, "");
    if (device.is_cpu()) {
      EXPECT_THROW(DataLoader(jets, options(device, DecodeOn::device, 1)), ConfigError);
      continue;
    }
    for (const int threads : {1, 4}) {
      DataLoader by_card(jets, options(device, DecodeOn::device, threads));
      DataLoader by_host(jets, options(c10::kCPU, DecodeOn::host, 1));
      std::vector<Batch> kept, expected;  // also those whose ranges are long gone
      for (int epoch = 0; epoch < 2; ++epoch) {
        while (auto batch = by_host.next()) {
          kept.push_back(by_card.next().value());
          expected.push_back(*batch);
        }
        EXPECT_FALSE(by_card.next());
        EXPECT_EQ(by_card.statistics().left_to_host, 0);
        EXPECT_GT(by_card.statistics().device_ranges, 0);
      }
      for (std::size_t i = 0; i < kept.size(); ++i) expect_same(kept[i], expected[i]);
    }
  }
}

}  // namespace
}  // namespace bunchtrain::data
