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

fs::path file_of(const Plan& plan, std::int64_t count) {
  return plan.out / fmt::format("{}-{}.h5", plan.program.samples, count);
}

bt::simulate::GflashOptions shower_options(const Plan& plan, std::int64_t count) {
  bt::simulate::GflashOptions options;
  options.count = count;
  options.inclined = plan.trainer_options.find("--variant angle") != std::string::npos;
  if (options.inclined) options.cells = {51, 51, 25};
  return options;
}

void make_file(const Plan& plan, std::int64_t count) {
  const fs::path path = file_of(plan, count);
  if (fs::exists(path)) return;
  fmt::print("making {} {}\n", count, plan.program.samples);
  if (plan.program.name == "particlenet")
    bt::simulate::write_toy_jets(path, {.count = count});
  else
    bt::simulate::write_gflash_showers(path, shower_options(plan, count));
}

}  // namespace

SampleFiles sample_files(const Plan& plan, const Setting& setting) {
  if (!plan.data.empty()) return {.train = plan.data, .valid = plan.valid};
  return {.train = {file_of(plan, plan.steps * setting.batch).string()},
          .valid = {file_of(plan, kValidationSamples).string()}};
}

void prepare_samples(const Plan& plan) {
  if (!plan.data.empty()) return;
  make_file(plan, kValidationSamples);
  for (const auto& setting : plan.settings) make_file(plan, plan.steps * setting.batch);
}

}  // namespace scaling
