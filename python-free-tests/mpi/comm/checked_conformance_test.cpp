// SPDX-License-Identifier: Apache-2.0
// The same suite in checked mode, by messages, with every operation cut into many of them.
#include "unit/comm/conformance.hpp"
#include "world.hpp"

namespace bunchtrain::comm::under_test {

Communicator create(CommunicatorOptions options) {
  options.backend = Backend::mpi;
  options.checked = true;
  options.shared_memory = false;
  options.max_message_elements = 97;
  return Communicator::create(test_world(), device(), std::move(options));
}
c10::Device device() { return c10::kCPU; }

}  // namespace bunchtrain::comm::under_test
