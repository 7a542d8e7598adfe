// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Graphs of the host, in place of a GPU's.

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <functional>

#include "bunchtrain/device/step_graph.hpp"
#include "host_reads.hpp"

namespace bunchtrain::test {

/// Of all graphs that share it.
struct GraphCounts {
  int captures = 0, replays = 0;
};

/// Does its work again in every replay, as a GPU does the work of kernels: the host must not be asked meanwhile.
class HostGraph : public device::StepGraph {
 public:
  explicit HostGraph(GraphCounts& counts) : counts_(counts) {}
  void capture(const std::function<void()>& work) override {
    ++counts_.captures;
    work_ = work;
  }
  void replay() override {
    ++counts_.replays;
    const HostReads reads;
    work_();
    EXPECT_TRUE(reads.names().empty()) << reads.names().front();
  }

 private:
  GraphCounts& counts_;
  std::function<void()> work_;
};

/// As a GPU's whose work asks for something that cannot be captured.
class RefusingGraph : public device::StepGraph {
 public:
  void capture(const std::function<void()>& /*work*/) override { TORCH_CHECK(false, "the host waits"); }
  void replay() override { ADD_FAILURE() << "a graph that is empty"; }
};

}  // namespace bunchtrain::test
