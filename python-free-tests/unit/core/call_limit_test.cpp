// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/detail/call_limit.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace bunchtrain {
namespace {

using namespace std::chrono_literals;

TEST(CallLimitTest, SpeaksUpWhileTheCallHangs) {
  std::promise<void> way_out;
  const CallLimit limit(5ms, [&] { way_out.set_value(); });
  way_out.get_future().wait();  // hangs until the limit is over
}

TEST(CallLimitTest, IsSilentOnceTheCallReturned) {
  std::atomic<int> calls = 0;
  {
    const CallLimit limit(1h, [&] { ++calls; });
  }
  { const CallLimit nobody_listens(1ms, {}); }
  EXPECT_EQ(calls, 0);
}

}  // namespace
}  // namespace bunchtrain
