// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/memory_node.hpp"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

namespace bunchtrain::device {
namespace {

namespace fs = std::filesystem;

constexpr int kMostNodes = 1024;  // that Linux knows
constexpr int kBitsPerWord = std::numeric_limits<unsigned long>::digits;

fs::path folder_of_node(const fs::path& sysfs, int node) {
  return sysfs / "devices/system/node" / ("node" + std::to_string(node));
}

bool has_other_node(const fs::path& sysfs, int node) {
  std::error_code failed;
  for (int other = 0; other < kMostNodes; ++other)
    if (other != node && fs::exists(folder_of_node(sysfs, other), failed)) return true;
  return false;
}

}  // namespace

std::optional<int> memory_node_of(std::string_view pci_bus_id, const fs::path& sysfs) {
  std::string name(pci_bus_id);
  std::ranges::transform(name, name.begin(), [](unsigned char letter) { return std::tolower(letter); });
  std::ifstream file(sysfs / "bus/pci/devices" / name / "numa_node");
  int node = -1;
  std::error_code failed;
  if (!(file >> node) || node < 0 || node >= kMostNodes) return std::nullopt;
  if (!fs::exists(folder_of_node(sysfs, node), failed) || !has_other_node(sysfs, node)) return std::nullopt;
  return node;
}

// By system calls: libnuma would be a library more for two of them.
OnMemoryNode::OnMemoryNode(std::optional<int> node) noexcept {
  if (!node) return;
  int before = MPOL_DEFAULT;
  if (::syscall(SYS_get_mempolicy, &before, nullptr, 0UL, nullptr, 0UL) != 0 || before != MPOL_DEFAULT)
    return;
  std::array<unsigned long, kMostNodes / kBitsPerWord> nodes{};
  nodes[static_cast<std::size_t>(*node / kBitsPerWord)] = 1UL << *node % kBitsPerWord;
  chosen_ = ::syscall(SYS_set_mempolicy, MPOL_PREFERRED, nodes.data(), std::uint64_t{kMostNodes}) == 0;
}

OnMemoryNode::~OnMemoryNode() {
  if (chosen_) ::syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0UL);
}

}  // namespace bunchtrain::device
