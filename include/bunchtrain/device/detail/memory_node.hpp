// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Host memory beside a GPU: on the NUMA node whose bus it hangs on, so that copies cross no socket.

#include <filesystem>
#include <optional>
#include <string_view>

namespace bunchtrain::device {

/// The node of a PCI device, "0000:3B:00.0". Nothing if the machine has one node, or does not say which.
/// @param sysfs where the kernel tells it
std::optional<int> memory_node_of(std::string_view pci_bus_id, const std::filesystem::path& sysfs = "/sys");

/// The node of a GPU. Nothing as above, and in a build without CUDA. @throws DeviceError for a GPU that is not there
std::optional<int> memory_node_of_gpu(int index);

/// While it lives, pages that the calling thread is the first to touch, or that are allocated for it, come from a node as long as
/// that has any; then the thread's policy is what it was. Does nothing without a node, where the system does not allow it, and
/// where somebody chose a policy before (numactl).
class OnMemoryNode {
 public:
  explicit OnMemoryNode(std::optional<int> node) noexcept;
  ~OnMemoryNode();
  OnMemoryNode(const OnMemoryNode&) = delete;
  OnMemoryNode& operator=(const OnMemoryNode&) = delete;

 private:
  bool chosen_ = false;
};

}  // namespace bunchtrain::device
