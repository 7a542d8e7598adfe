// SPDX-License-Identifier: Apache-2.0 The suite over NCCL, and over MPI with GPU tensors staged through the
// host. More ranks than GPUs share a GPU.
#include "one_card.hpp"
#include "unit/comm/conformance.hpp"

namespace bunchtrain::comm::under_test {

Communicator create(CommunicatorOptions options) {
  let_ranks_share_gpus();
  options.backend = BUNCHTRAIN_TEST_BACKEND;
  return Communicator::create(test_world(), device(), std::move(options));
}

c10::Device device() { return test_gpu(); }

}  // namespace bunchtrain::comm::under_test
