// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "bunchtrain/weights/safetensors.hpp"

namespace bunchtrain::weights {
namespace {

TEST(SafeTensorsOracleTest, ReadsAFileOfTheReferenceImplementation) {
  const SafeTensors file = read_safetensors(std::filesystem::path(BUNCHTRAIN_TEST_DATA) / "oracle" /
                                            "particlenet_lite.safetensors");
  EXPECT_TRUE(file.metadata.contains("source"));
  EXPECT_EQ(file.tensors["weights.edge_convs.0.convs.0.weight"].sizes().vec(),
            (std::vector<std::int64_t>{32, 14, 1, 1}));
  EXPECT_EQ(file.tensors["expected.eval_logits"].scalar_type(), at::kDouble);
  EXPECT_EQ(file.tensors["weights.bn_fts.num_batches_tracked"].dim(), 0);
}

}  // namespace
}  // namespace bunchtrain::weights
