// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/device_time.hpp"

#include <algorithm>

#include "bunchtrain/device/step_graph.hpp"
#include "stream_event.hpp"

namespace bunchtrain::device {

Moment::Moment(c10::Device device)
    : event_(device.is_cuda() && !is_capturing(device)
                 ? std::make_shared<const StreamEvent>(device, StreamEvent::Kind::time)
                 : nullptr) {}

bool Moment::passed() const { return !event_ || event_->passed(); }

double Moment::seconds_since(const Moment& earlier) const {
  if (!event_) return std::chrono::duration<double>(time_ - earlier.time_).count();
  earlier.event_->wait();
  event_->wait();
  return event_->seconds_since(*earlier.event_);
}

void LateSeconds::add(const Moment& begin, const Moment& end) {
  running_.push_back({begin, end});
  add_up();
}

void LateSeconds::add(const LateSeconds& other) {
  known_ += other.known_;
  running_.insert(running_.end(), other.running_.begin(), other.running_.end());
  add_up();
}

/// What is over, so that a sum that nobody reads stays small.
void LateSeconds::add_up() {
  const auto over = std::ranges::find_if(running_, [](const Stretch& each) { return !each.end.passed(); });
  for (auto each = running_.begin(); each != over; ++each) known_ += each->seconds();
  running_.erase(running_.begin(), over);
}

bool LateSeconds::ready() const {
  return std::ranges::all_of(running_, [](const Stretch& each) { return each.end.passed(); });
}

double LateSeconds::value() const {
  double sum = known_;
  for (const Stretch& each : running_) sum += each.seconds();
  return sum;
}

}  // namespace bunchtrain::device
