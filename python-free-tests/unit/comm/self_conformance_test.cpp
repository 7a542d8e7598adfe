// SPDX-License-Identifier: Apache-2.0
#include "unit/comm/conformance.hpp"

namespace bunchtrain::comm::under_test {

Communicator create(CommunicatorOptions options) {
  return Communicator::create(mpi::Comm::self(), device(), std::move(options));
}
c10::Device device() { return c10::kCPU; }

}  // namespace bunchtrain::comm::under_test
