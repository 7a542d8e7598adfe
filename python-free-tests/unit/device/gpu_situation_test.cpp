// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/gpu_situation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::device {
namespace {

using testing::AllOf;
using testing::HasSubstr;

GpuSituation two_h200() {
  return {.built_with_cuda = true,
          .driver_files = true,
          .driver_version = 13000,
          .runtime_version = 13000,
          .gpus = {{"NVIDIA H200", 90}, {"NVIDIA H200", 90}}};
}

/// The text of the error that judging throws.
template <class ErrorType>
std::string refusal(DeviceRequest request, const GpuSituation& situation) {
  try {
    judge_device(request, 0, situation);
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "no error";
}

TEST(GpuSituationTest, ParsesTheThreeNames) {
  EXPECT_EQ(parse_device("auto"), DeviceRequest::automatic);
  EXPECT_EQ(parse_device("cpu"), DeviceRequest::cpu);
  EXPECT_EQ(parse_device("cuda"), DeviceRequest::cuda);
  EXPECT_THROW(parse_device("gpu"), ConfigError);
}

TEST(GpuSituationTest, EachLocalRankGetsItsGpu) {
  EXPECT_EQ(judge_device(DeviceRequest::cuda, 0, two_h200()).device.str(), "cuda:0");
  EXPECT_EQ(judge_device(DeviceRequest::automatic, 1, two_h200()).device.str(), "cuda:1");
}

TEST(GpuSituationTest, ARankThatSeesOneGpuUsesItWhateverItsLocalRank) {
  GpuSituation situation = two_h200();
  situation.gpus.resize(1);
  EXPECT_EQ(judge_device(DeviceRequest::cuda, 3, situation).device.str(), "cuda:0");
}

TEST(GpuSituationTest, CpuIsAlwaysGranted) {
  EXPECT_TRUE(judge_device(DeviceRequest::cpu, 0, two_h200()).device.is_cpu());
  EXPECT_TRUE(judge_device(DeviceRequest::cpu, 0, {}).device.is_cpu());
}

TEST(GpuSituationTest, CpuBuildThatSeesAGpuNamesTheRebuildCommand) {
  const GpuSituation situation{.built_with_cuda = false, .driver_files = true};
  const DeviceChoice choice = judge_device(DeviceRequest::automatic, 0, situation);
  EXPECT_TRUE(choice.device.is_cpu());
  EXPECT_THAT(choice.notice, HasSubstr("tools/setup --gpu && cmake --preset cuda"));
  EXPECT_THAT(refusal<NotBuiltError>(DeviceRequest::cuda, situation),
              AllOf(HasSubstr("-DBUNCHTRAIN_CUDA=ON"), HasSubstr("tools/setup --gpu")));
}

TEST(GpuSituationTest, CpuBuildOnACpuMachineIsSilent) {
  EXPECT_EQ(judge_device(DeviceRequest::automatic, 0, {}).notice, "");
  EXPECT_THAT(refusal<NotBuiltError>(DeviceRequest::cuda, {}), HasSubstr("-DBUNCHTRAIN_CUDA=ON"));
}

TEST(GpuSituationTest, CudaBuildOnACpuMachineIsSilentUnlessCudaIsAsked) {
  const GpuSituation situation{.built_with_cuda = true, .runtime_version = 13000};
  EXPECT_EQ(judge_device(DeviceRequest::automatic, 0, situation).notice, "");
  EXPECT_THAT(refusal<DeviceError>(DeviceRequest::cuda, situation), HasSubstr("no NVIDIA driver"));
}

TEST(GpuSituationTest, OldDriverNamesFoundAndRequired) {
  GpuSituation situation = two_h200();
  situation.driver_version = 12020;
  EXPECT_THAT(refusal<DeviceError>(DeviceRequest::cuda, situation),
              AllOf(HasSubstr("12.2"), HasSubstr("13.0")));
  const DeviceChoice choice = judge_device(DeviceRequest::automatic, 0, situation);
  EXPECT_TRUE(choice.device.is_cpu());
  EXPECT_THAT(choice.notice, HasSubstr("driver is too old"));
}

TEST(GpuSituationTest, DriverOfTheSameMajorVersionServes) {
  GpuSituation situation = two_h200();
  situation.runtime_version = 13010;
  EXPECT_TRUE(judge_device(DeviceRequest::cuda, 0, situation).device.is_cuda());
}

TEST(GpuSituationTest, OldCardNamesFoundAndRequired) {
  GpuSituation situation = two_h200();
  situation.gpus = {{"Tesla V100-SXM2-16GB", 70}};
  EXPECT_THAT(refusal<DeviceError>(DeviceRequest::cuda, situation),
              AllOf(HasSubstr("Tesla V100-SXM2-16GB"), HasSubstr("7.0"), HasSubstr("7.5")));
}

TEST(GpuSituationTest, NoVisibleGpuPointsToTheEnvironment) {
  GpuSituation situation = two_h200();
  situation.gpus.clear();
  EXPECT_THAT(refusal<DeviceError>(DeviceRequest::cuda, situation), HasSubstr("CUDA_VISIBLE_DEVICES"));
  situation.problem = "system has unsupported display driver";
  EXPECT_THAT(refusal<DeviceError>(DeviceRequest::cuda, situation), HasSubstr("unsupported display driver"));
}

TEST(GpuSituationTest, ObservationAgreesWithItself) {
  const GpuSituation situation = observe_gpus();
  if (!situation.gpus.empty()) {
    EXPECT_GT(situation.driver_version, 0);
    EXPECT_GT(situation.gpus.front().compute_capability, 0);
  }
  EXPECT_EQ(situation.built_with_cuda, situation.runtime_version > 0);
  EXPECT_TRUE(choose_device(DeviceRequest::cpu, 0).is_cpu());
}

TEST(GpuSituationTest, DescribesTheProcessor) {
  EXPECT_THAT(describe(c10::Device(c10::kCPU)), AllOf(HasSubstr(" CPUs, "), HasSubstr(" GiB")));
}

}  // namespace
}  // namespace bunchtrain::device
