// SPDX-License-Identifier: Apache-2.0
// Keras files of which bytes are missing or wrong: each is read or refused.
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/weights/keras_weights.hpp"
#include "support/keras_writer.hpp"
#include "unit/report/temporary_folder.hpp"

// The HDF5 library asks for absurd sizes, takes the refusal well, and forgets blocks of its free lists on the
// way out. The sanitizers ask these functions what to tolerate.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char* __lsan_default_suppressions() { return "leak:H5FL_"; }

namespace bunchtrain::weights {
namespace {

class KerasDamageTest : public report::TemporaryFolder {
 protected:
  KerasDamageTest() {
    {
      test::KerasWriter writer(path_);
      writer.layer("dense_1",
                   {test::counting("dense_1/kernel:0", {3, 2}), test::counting("dense_1/bias:0", {2})});
      writer.list_layers();
    }
    whole_ = read(path_);
  }

  bool is_refused(const std::string& content) const {
    write("weights.h5", content);
    try {
      read_keras_weights(path_);
      return false;
    } catch (const CheckpointError&) {
      return true;
    }
  }

  std::filesystem::path path_ = folder_ / "weights.h5";
  std::string whole_;
};

TEST_F(KerasDamageTest, TruncatedFilesAreRefused) {
  EXPECT_FALSE(is_refused(whole_));
  for (std::size_t length = 0; length < whole_.size(); length += 37)
    EXPECT_TRUE(is_refused(whole_.substr(0, length))) << length << " of " << whole_.size() << " bytes";
}

TEST_F(KerasDamageTest, WrongBytesAreReadOrRefused) {
  constexpr int kFiles = 500;
  RandomSequence random(CounterRandom(5, 0));
  int refused = 0;
  for (int file = 0; file < kFiles; ++file) {
    std::string damaged = whole_;
    for (std::uint64_t edits = 1 + random.below(4); edits > 0; --edits)
      damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
    refused += is_refused(damaged) ? 1 : 0;
  }
  EXPECT_GT(refused, kFiles / 100);
  EXPECT_LT(refused, kFiles);  // most bytes are padding or numbers
}

}  // namespace
}  // namespace bunchtrain::weights
