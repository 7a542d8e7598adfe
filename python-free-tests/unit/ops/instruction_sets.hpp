// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tests of vector code for every instruction set that this processor has and this build contains.

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bunchtrain::test {

/// The parameter is the only instruction set while a test runs.
class InstructionSetTest : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

inline std::vector<std::int64_t> instruction_sets() {
  std::vector<std::int64_t> sets;
  for (std::int64_t remaining = hwy::SupportedTargets(); remaining != 0; remaining &= remaining - 1)
    sets.push_back(remaining & -remaining);
  return sets;
}

inline std::string name_of_instruction_set(const testing::TestParamInfo<std::int64_t>& info) {
  return hwy::TargetName(info.param);
}

}  // namespace bunchtrain::test
