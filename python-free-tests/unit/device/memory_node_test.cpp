// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/memory_node.hpp"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

namespace bunchtrain::device {
namespace {

namespace fs = std::filesystem;

/// A machine of some nodes with one card.
class MemoryNodeTest : public testing::Test {
 protected:
  void SetUp() override { fs::remove_all(sysfs_); }
  void TearDown() override { fs::remove_all(sysfs_); }

  std::optional<int> node_of_card(std::initializer_list<int> nodes, const std::string& told,
                                  std::string_view asked = "0000:3B:00.0") const {
    fs::remove_all(sysfs_);
    for (const int node : nodes)
      fs::create_directories(sysfs_ / "devices/system/node" / ("node" + std::to_string(node)));
    fs::create_directories(sysfs_ / "bus/pci/devices/0000:3b:00.0");
    std::ofstream(sysfs_ / "bus/pci/devices/0000:3b:00.0/numa_node") << told;
    return memory_node_of(asked, sysfs_);
  }

  const fs::path sysfs_ =
      fs::temp_directory_path() / ("memory_node_test." + std::to_string(static_cast<int>(::getpid())));
};

TEST_F(MemoryNodeTest, IsWhatTheKernelTellsOfTheCard) {
  EXPECT_EQ(node_of_card({0, 1}, "1\n"), 1);
  EXPECT_EQ(node_of_card({0, 1}, "0\n"), 0);
  EXPECT_EQ(node_of_card({0, 8}, "8\n"), 8) << "nodes may be numbered with gaps";
}

TEST_F(MemoryNodeTest, IsNothingWhereThereIsNothingToChoose) {
  EXPECT_EQ(node_of_card({0}, "0\n"), std::nullopt) << "one node";
  EXPECT_EQ(node_of_card({0, 1}, "-1\n"), std::nullopt) << "the firmware does not say";
  EXPECT_EQ(node_of_card({0, 1}, "2\n"), std::nullopt) << "no such node";
  EXPECT_EQ(node_of_card({0, 1}, "9999999999\n"), std::nullopt);
  EXPECT_EQ(node_of_card({0, 1}, ""), std::nullopt);
  EXPECT_EQ(node_of_card({0, 1}, "1\n", "0000:AF:00.0"), std::nullopt) << "no such card";
  EXPECT_EQ(memory_node_of("0000:3B:00.0", sysfs_ / "nothing"), std::nullopt);
}

int policy() {
  int mode = -1;
  EXPECT_EQ(::syscall(SYS_get_mempolicy, &mode, nullptr, 0UL, nullptr, 0UL), 0);
  return mode;
}

int node_of_page(void* page) {
  int node = -1;
  EXPECT_EQ(::syscall(SYS_get_mempolicy, &node, nullptr, 0UL, page, MPOL_F_NODE | MPOL_F_ADDR), 0);
  return node;
}

/// Some containers do not allow it, and then nothing changes.
bool may_choose() {
  const unsigned long node = 1;
  const bool may = ::syscall(SYS_set_mempolicy, MPOL_PREFERRED, &node, 64UL) == 0;
  return may && ::syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0UL) == 0;
}

TEST_F(MemoryNodeTest, HoldsForTheThreadWhileTheScopeLasts) {
  const bool may = may_choose();
  ASSERT_EQ(policy(), MPOL_DEFAULT);
  {
    const OnMemoryNode there(0);
    EXPECT_EQ(policy(), may ? MPOL_PREFERRED : MPOL_DEFAULT);
    constexpr std::size_t kBytes = 4096;
    void* page = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(page, MAP_FAILED);
    std::memset(page, 1, kBytes);
    if (may) {
      EXPECT_EQ(node_of_page(page), 0);
    }
    ::munmap(page, kBytes);
    const OnMemoryNode again(0);  // the first one ends it
  }
  EXPECT_EQ(policy(), MPOL_DEFAULT);
}

TEST_F(MemoryNodeTest, WithoutANodeNothingChanges) {
  const OnMemoryNode nowhere(std::nullopt), no_such_node(1000);
  EXPECT_EQ(policy(), MPOL_DEFAULT);
}

TEST_F(MemoryNodeTest, WhatSomebodyChoseStays) {
  if (!may_choose()) return;
  const unsigned long first = 1;
  ASSERT_EQ(::syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &first, 64UL), 0);
  {
    const OnMemoryNode there(0);
    EXPECT_EQ(policy(), MPOL_INTERLEAVE);
  }
  EXPECT_EQ(policy(), MPOL_INTERLEAVE);
  EXPECT_EQ(::syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0UL), 0);
}

}  // namespace
}  // namespace bunchtrain::device
