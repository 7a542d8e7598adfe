// SPDX-License-Identifier: Apache-2.0
#include "sample_files.hpp"

#include <fmt/format.h>

#include "bunchtrain/simulate/gflash.hpp"
#include "bunchtrain/simulate/toy_jets.hpp"

namespace scaling {

namespace bt = bunchtrain;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kValidationSamples = 32;  // validation is not measured

/// Samples that are made: those of validation are others than those trained on.
struct Samples {
  std::int64_t count;
  std::uint64_t seed = 1;
  const char* suffix = "";
};

constexpr Samples kValidation{.count = kValidationSamples, .seed = 2, .suffix = "-valid"};

fs::path file_of(const Plan& plan, const Samples& samples) {
  return plan.out / fmt::format("{}-{}{}.h5", plan.program.samples, samples.count, samples.suffix);
}

bt::simulate::GflashOptions shower_options(const Plan& plan, const Samples& samples) {
  bt::simulate::GflashOptions options;
  options.count = samples.count;
  options.seed = samples.seed;
  options.inclined = plan.trainer_options.find("--variant angle") != std::string::npos;
  if (options.inclined) options.cells = {51, 51, 25};
  return options;
}

void make_file(const Plan& plan, const Samples& samples) {
  const fs::path path = file_of(plan, samples);
  if (fs::exists(path)) return;
  fmt::print("making {} {}\n", samples.count, plan.program.samples);
  if (plan.program.name == "particlenet")
    bt::simulate::write_toy_jets(path, {.count = samples.count, .seed = samples.seed});
  else
    bt::simulate::write_gflash_showers(path, shower_options(plan, samples));
}

}  // namespace

SampleFiles sample_files(const Plan& plan, const Setting& setting) {
  if (!plan.data.empty()) return {.train = plan.data, .valid = plan.valid};
  return {.train = {file_of(plan, {.count = plan.steps * setting.batch}).string()},
          .valid = {file_of(plan, kValidation).string()}};
}

void prepare_samples(const Plan& plan) {
  if (!plan.data.empty()) return;
  make_file(plan, kValidation);
  for (const auto& setting : plan.settings) make_file(plan, {.count = plan.steps * setting.batch});
}

}  // namespace scaling
