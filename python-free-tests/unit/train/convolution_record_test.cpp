// SPDX-License-Identifier: Apache-2.0
// Which way convolutions go: chosen by times, kept in a run folder, the same after a resume.
#include "convolution_record.hpp"

#include <gmock/gmock.h>

#include <filesystem>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

using ops::ConvolutionChoices;
using ops::ConvolutionWay;
using ops::faster_way;
using testing::HasSubstr;

const c10::Device kCpu(c10::kCPU);

/// Ways in the order of a run's layers; `calls` counts what was timed.
struct Layers {
  int calls = 0;
  double library = 2e-3, direct = 1e-3;

  ConvolutionChoices::Timer timer() {
    return [this](c10::Device, const std::function<void()>& work) {
      work();
      return ++calls % 2 == 1 ? library : direct;
    };
  }
  static ConvolutionWay ask(ConvolutionChoices& choices, const std::string& name) {
    return choices.choose(
        name, kCpu, [] {}, [] {});
  }
};

class ConvolutionRecordTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  const std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / "convolution_record_test";
  const std::filesystem::path file_ = folder_ / "convolutions.json";
};

TEST(FasterWayTest, IsOursOnlyWhereItSavesMoreThanTimesDifferBy) {
  EXPECT_EQ(faster_way(2e-3, 1e-3), ConvolutionWay::direct);
  EXPECT_EQ(faster_way(1e-3, 2e-3), ConvolutionWay::library);
  EXPECT_EQ(faster_way(1e-3, 1e-3), ConvolutionWay::library);
  EXPECT_EQ(faster_way(1e-3, 0.98e-3), ConvolutionWay::library);
  EXPECT_EQ(faster_way(1e-3, 0.96e-3), ConvolutionWay::direct);
  EXPECT_EQ(faster_way(0, 0), ConvolutionWay::library);
}

TEST(ConvolutionChoicesTest, MeasureOnceAndOnlyWhenAsked) {
  Layers layers;
  ConvolutionChoices choices(layers.timer());
  EXPECT_EQ(Layers::ask(choices, "a"), ConvolutionWay::library);
  EXPECT_EQ(layers.calls, 0);
  EXPECT_TRUE(choices.all().empty());

  choices.measure(true);
  EXPECT_EQ(Layers::ask(choices, "a"), ConvolutionWay::direct);
  EXPECT_EQ(Layers::ask(choices, "a"), ConvolutionWay::direct);
  EXPECT_EQ(layers.calls, 2) << "both ways, once";
  layers.direct = 3e-3;
  EXPECT_EQ(Layers::ask(choices, "b"), ConvolutionWay::library);

  choices.measure(false);
  EXPECT_EQ(Layers::ask(choices, "c"), ConvolutionWay::library);
  EXPECT_EQ(Layers::ask(choices, "a"), ConvolutionWay::direct);
  choices.always(ConvolutionWay::direct);
  EXPECT_EQ(Layers::ask(choices, "b"), ConvolutionWay::direct);
  choices.always(std::nullopt);
  EXPECT_EQ(Layers::ask(choices, "b"), ConvolutionWay::library);
}

TEST(ConvolutionChoicesTest, TheOwnTimerRunsBothWays) {
  ConvolutionChoices choices;
  choices.measure(true);
  int library = 0, direct = 0;
  choices.choose(
      "a", kCpu, [&] { ++library; }, [&] { ++direct; });
  EXPECT_GT(library, 1);
  EXPECT_EQ(direct, library);
}

TEST_F(ConvolutionRecordTest, AResumedRunHasTheWaysOfTheFirstStep) {
  Layers layers;
  ConvolutionChoices choices(layers.timer()), resumed(layers.timer());
  {
    ConvolutionRecord record(mpi::Comm::self(), {}, file_, choices);
    record.begin();
    EXPECT_EQ(Layers::ask(choices, "conv1 output"), ConvolutionWay::direct);
    layers.direct = 5e-3;
    EXPECT_EQ(Layers::ask(choices, "conv2 \"quoted\" output"), ConvolutionWay::library);
    record.finish();
  }
  EXPECT_EQ(layers.calls, 4);
  EXPECT_EQ(Layers::ask(choices, "conv1 output"), ConvolutionWay::direct);

  ConvolutionRecord record(mpi::Comm::self(), {}, file_, resumed);
  record.begin();
  EXPECT_EQ(Layers::ask(resumed, "conv1 output"), ConvolutionWay::direct) << "whatever it would take now";
  EXPECT_EQ(Layers::ask(resumed, "conv2 \"quoted\" output"), ConvolutionWay::library);
  EXPECT_EQ(layers.calls, 4);
  EXPECT_EQ(Layers::ask(resumed, "conv3 output"), ConvolutionWay::library);
  EXPECT_EQ(layers.calls, 6) << "what the file does not know is measured";
  record.finish();
  EXPECT_EQ(parse_convolutions(read_text_file(file_), file_).size(), 3);
  EXPECT_NEAR(resumed.all().at("conv1 output").library_seconds, 2e-3, 1e-12);
  EXPECT_EQ(Layers::ask(resumed, "conv4 output"), ConvolutionWay::library);
  EXPECT_EQ(layers.calls, 6) << "behind the first step nothing is";
}

TEST_F(ConvolutionRecordTest, ARunWithoutConvolutionsLeavesNoFile) {
  ConvolutionChoices choices;
  ConvolutionRecord record(mpi::Comm::self(), {}, file_, choices);
  record.begin();
  record.finish();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(ConvolutionRecordTest, ADamagedFileIsNamedWithTheWayOut) {
  ConvolutionChoices choices;
  for (const char* text :
       {"{", "[]", R"({"a": {"way": "fast", "library_ms": 1, "direct_ms": 1}})", R"({"a": 1})"}) {
    write_file_atomically(file_, text);
    ConvolutionRecord record(mpi::Comm::self(), {}, file_, choices);
    try {
      record.begin();
      ADD_FAILURE() << text;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("convolutions.json does not say which way convolutions go"));
      EXPECT_THAT(error.what(), HasSubstr("Remove it"));
    }
  }
}

}  // namespace
}  // namespace bunchtrain::train
