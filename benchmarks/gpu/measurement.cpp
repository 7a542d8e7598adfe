// SPDX-License-Identifier: Apache-2.0
#include "measurement.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace gpu_bench {

namespace {

constexpr int kMost = 200;
/// Repetitions between two waits: the host gets ahead, and not so far that memory runs out. Where its own time counts it waits
/// after each one, so that no step waits for another.
constexpr int kBlock = 10, kHostBlock = 1;

Spread spread(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto quantile = [&](double part) {
    return values[static_cast<std::size_t>(std::lround(part * static_cast<double>(values.size() - 1)))];
  };
  return {quantile(0.5), quantile(0.1), quantile(0.9)};
}

void call(const Work& work) {
  work.step();
  if (work.baseline) work.baseline();
}

/// How many repetitions fill the time, by the slowest rank's last warm-up.
int repetitions(const Work& work, c10::Device device, const Effort& effort,
                const bunchtrain::mpi::Comm& world) {
  for (int warm_up = 0; warm_up < effort.warm_ups - 1; ++warm_up) call(work);
  synchronize(device);
  const auto start = std::chrono::steady_clock::now();
  call(work);
  synchronize(device);
  const std::chrono::nanoseconds own = std::chrono::steady_clock::now() - start;
  const double seconds = 1e-9 * static_cast<double>(std::max<std::int64_t>(world.all_max(own.count()), 1));
  return static_cast<int>(
      std::clamp(effort.seconds / seconds, static_cast<double>(effort.least), double{kMost}));
}

}  // namespace

void Marks::mark() {
  if (device_.is_cpu()) {
    times_.push_back(std::chrono::steady_clock::now());
    return;
  }
  const c10::impl::VirtualGuardImpl guard(device_.type());
  c10::Event event(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
  event.record(guard.getStream(device_));
  events_.push_back(std::move(event));
}

std::vector<double> Marks::take() {
  std::vector<double> durations;
  if (!events_.empty()) events_.back().synchronize();
  for (std::size_t i = 1; i < events_.size(); ++i)
    durations.push_back(events_[i - 1].elapsedTime(events_[i]));
  for (std::size_t i = 1; i < times_.size(); ++i)
    durations.push_back(std::chrono::duration<double, std::milli>(times_[i] - times_[i - 1]).count());
  events_.clear();
  times_.clear();
  return durations;
}

void synchronize(c10::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

Measured measure(const Work& work, c10::Device device, const Effort& effort,
                 const bunchtrain::mpi::Comm& world) {
  const int count = effort.once ? 1 : repetitions(work, device, effort, world);
  std::vector<double> steps, baselines;
  const bool of_host = work.timed == Timed::host;
  Marks marks(of_host ? c10::Device(c10::kCPU) : device);
  for (int done = 0; done < count;) {
    marks.mark();
    for (int i = 0; i < (of_host ? kHostBlock : kBlock) && done < count; ++i, ++done) {
      work.step();
      marks.mark();
      if (!work.baseline) continue;
      work.baseline();
      marks.mark();
    }
    const std::vector<double> durations = marks.take();
    if (of_host) synchronize(device);
    for (std::size_t i = 0; i < durations.size(); ++i)
      (work.baseline && i % 2 == 1 ? baselines : steps).push_back(durations[i]);
  }
  return {spread(steps), spread(baselines), count};
}

}  // namespace gpu_bench
