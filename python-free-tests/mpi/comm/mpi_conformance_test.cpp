// SPDX-License-Identifier: Apache-2.0
#include "unit/comm/conformance.hpp"
#include "world.hpp"

namespace bunchtrain::comm::under_test {

Communicator create(CommunicatorOptions options) {
  options.backend = Backend::mpi;
  return Communicator::create(test_world(), device(), std::move(options));
}
c10::Device device() { return c10::kCPU; }

}  // namespace bunchtrain::comm::under_test
