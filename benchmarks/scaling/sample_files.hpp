// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the trainers read while they are measured.

#include <string>
#include <vector>

#include "scaling_plan.hpp"

namespace scaling {

struct SampleFiles {
  std::vector<std::string> train;
  std::vector<std::string> valid;  ///< may be empty
};

/// The user's files, or made ones with `plan.steps` whole steps.
SampleFiles sample_files(const Plan& plan, const Setting& setting);

/// Makes the files that the settings need, unless the user named some: toy jets or GFlash showers.
void prepare_samples(const Plan& plan);

}  // namespace scaling
