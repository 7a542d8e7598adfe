// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/gradient_buckets.hpp"

#include <fmt/format.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/step_graph.hpp"

namespace bunchtrain::parallel {

namespace {

/// Adds the time of a scope, as the device sees it, to a sum; none while it is captured, as nothing runs then.
class ScopeTimer {
 public:
  ScopeTimer(device::LateSeconds& sum, c10::Device device) : sum_(sum), device_(device) {}
  ~ScopeTimer() {
    if (std::uncaught_exceptions() == exceptions_ && !device::is_capturing(device_))
      sum_.add(start_, device::Moment(device_));
  }
  ScopeTimer(const ScopeTimer&) = delete;
  ScopeTimer& operator=(const ScopeTimer&) = delete;

 private:
  device::LateSeconds& sum_;
  c10::Device device_;
  int exceptions_ = std::uncaught_exceptions();
  device::Moment start_{device_};
};

void append_buckets(std::vector<Bucket>& buckets, const tensor::ParameterArenas& arenas, std::size_t arena,
                    std::int64_t bucket_bytes) {
  const auto segments = arenas[arena].segments();
  const auto element_bytes = static_cast<std::int64_t>(arenas[arena].values().element_size());
  const std::int64_t end = arenas[arena].gradients_with_footer().numel();
  const std::int64_t least = bucket_bytes == 0 ? end : (bucket_bytes + element_bytes - 1) / element_bytes;
  Bucket bucket{arena, 0, 0, 0, 0};
  for (std::size_t segment = 0; segment < segments.size(); ++segment) {
    bucket.last_segment = segment + 1;
    bucket.end = segment + 1 < segments.size() ? segments[segment + 1].offset : end;
    const bool enough_left = end - bucket.end >= least || segment + 1 == segments.size();
    if (bucket.end - bucket.begin < least || !enough_left) continue;
    buckets.push_back(bucket);
    bucket = {arena, segment + 1, segment + 1, bucket.end, bucket.end};
  }
  if (bucket.begin < end) {
    bucket.end = end;
    bucket.last_segment = segments.size();
    buckets.push_back(bucket);
  }
}

}  // namespace

std::vector<Bucket> make_buckets(const tensor::ParameterArenas& arenas, std::int64_t bucket_bytes) {
  std::vector<Bucket> buckets;
  for (std::size_t arena = 0; arena < arenas.size(); ++arena)
    append_buckets(buckets, arenas, arena, bucket_bytes);
  return buckets;
}

struct GradientBuckets::Impl {
  struct Hook {
    std::size_t bucket;
    std::size_t arena;
    std::size_t segment;
    bool ready = false;
    std::shared_ptr<torch::autograd::Node> accumulator = nullptr;
    std::uintptr_t key = 0;
  };

  Impl(tensor::ParameterArenas& parameter_arenas, comm::Communicator ranks, std::int64_t bucket_bytes);
  ~Impl();

  void attach(Hook& hook);
  void detach(Hook& hook);
  void on_gradient(Hook& hook);
  void count_in(Hook& hook);
  void mark_ready(Hook& hook);
  std::string name_of(std::size_t bucket) const;
  void start_next();
  void start_ready();
  void pump();
  void await_all();
  c10::Device device() const { return arenas->front().values().device(); }
  const tensor::ArenaSegment& segment_of(const Hook& hook) const {
    return (*arenas)[hook.arena].segments()[hook.segment];
  }

  tensor::ParameterArenas* arenas;
  comm::Communicator communicator;
  std::thread::id owner = std::this_thread::get_id();
  std::vector<Bucket> buckets;
  std::vector<Hook> hooks;           ///< never resized after construction: hooks in autograd point into it
  std::vector<std::size_t> pending;  ///< gradients that a bucket still waits for
  std::vector<comm::Work> works;     ///< one per started bucket, in order
  std::size_t oldest = 0;            ///< first work that may be unfinished
  std::size_t early = 0;
  bool armed = false;
  bool overlap = false;
  device::LateSeconds exposed;
  std::mutex mutex;  ///< gradients of a CPU and of a GPU arena arrive on two threads
};

GradientBuckets::Impl::Impl(tensor::ParameterArenas& parameter_arenas, comm::Communicator ranks,
                            std::int64_t bucket_bytes)
    : arenas(&parameter_arenas),
      communicator(std::move(ranks)),
      buckets(make_buckets(parameter_arenas, bucket_bytes)),
      pending(buckets.size()) {
  for (std::size_t bucket = 0; bucket < buckets.size(); ++bucket) {
    for (std::size_t segment = buckets[bucket].first_segment; segment < buckets[bucket].last_segment;
         ++segment) {
      hooks.push_back({bucket, buckets[bucket].arena, segment});
    }
  }
}

GradientBuckets::Impl::~Impl() {
  for (Hook& hook : hooks) detach(hook);
}

void GradientBuckets::Impl::detach(Hook& hook) {
  if (hook.accumulator) hook.accumulator->del_post_hook(hook.key);
  hook.accumulator.reset();
}

// Once per pass: `module.to(...)` and thawing give a parameter another accumulator, on
// which old hooks never fire.
void GradientBuckets::Impl::attach(Hook& hook) {
  if (!segment_of(hook).requires_grad) return detach(hook);
  auto accumulator = torch::autograd::impl::grad_accumulator((*arenas)[hook.arena].parameter(hook.segment));
  if (accumulator == hook.accumulator) return;
  detach(hook);
  hook.accumulator = std::move(accumulator);
  hook.key = hook.accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
      [this, &hook](const torch::autograd::variable_list& outputs,
                    const torch::autograd::variable_list& /*inputs*/) {
        on_gradient(hook);
        return outputs;
      }));
}

void GradientBuckets::Impl::on_gradient(Hook& hook) {
  const std::lock_guard lock(mutex);
  if (!armed || !overlap) return;
  if (device().is_cuda()) return count_in(hook);  // of the host's time alone, while backward goes on
  const ScopeTimer timer(exposed, device());
  count_in(hook);
}

void GradientBuckets::Impl::count_in(Hook& hook) {
  mark_ready(hook);
  if (std::this_thread::get_id() != owner) return;
  start_ready();
  pump();
}

void GradientBuckets::Impl::mark_ready(Hook& hook) {
  if (hook.bucket < works.size()) {
    throw ConfigError(
        "parameter " + segment_of(hook).name +
        " got a gradient after its sum over ranks had started: more than one backward ran in a pass of "
        "DataParallel::backward; use begin_pass and finish");
  }
  (*arenas)[hook.arena].settle_gradient(hook.segment);
  if (std::exchange(hook.ready, true)) return;
  --pending[hook.bucket];
}

/// For the records of a failure.
std::string GradientBuckets::Impl::name_of(std::size_t bucket) const {
  const auto [arena, first, last, begin, end] = buckets[bucket];
  const std::string position = fmt::format("gradient bucket {} of {}", bucket + 1, buckets.size());
  return first == last ? position
                       : fmt::format("{} from {}", position, (*arenas)[arena].segments()[first].name);
}

void GradientBuckets::Impl::start_next() {
  const Bucket& bucket = buckets[works.size()];
  const auto phase = communicator.control().in_phase(name_of(works.size()));
  const at::Tensor& gradients = (*arenas)[bucket.arena].gradients_with_footer();
  works.push_back(communicator.all_reduce(gradients.narrow(0, bucket.begin, bucket.end - bucket.begin)));
}

void GradientBuckets::Impl::start_ready() {
  while (works.size() < buckets.size() && pending[works.size()] == 0) {
    start_next();
    ++early;
  }
}

void GradientBuckets::Impl::pump() {
  while (oldest < works.size() && works[oldest].poll()) ++oldest;
}

void GradientBuckets::Impl::await_all() {
  for (; oldest < works.size(); ++oldest) works[oldest].wait();
  works.clear();
  oldest = 0;
}

GradientBuckets::GradientBuckets(tensor::ParameterArenas& arenas, comm::Communicator communicator,
                                 std::int64_t bucket_bytes)
    : impl_(std::make_unique<Impl>(arenas, std::move(communicator), bucket_bytes)) {}

GradientBuckets::~GradientBuckets() = default;

void GradientBuckets::arm(bool overlap) {
  impl_->early = 0;
  impl_->exposed = {};
  impl_->overlap = overlap;
  std::ranges::fill(impl_->pending, 0);
  for (Impl::Hook& hook : impl_->hooks) {
    hook.ready = false;
    if (overlap) impl_->attach(hook);
    if (hook.accumulator) ++impl_->pending[hook.bucket];
  }
  impl_->armed = true;
}

void GradientBuckets::finish() {
  const ScopeTimer timer(impl_->exposed, impl_->device());
  impl_->armed = false;
  while (impl_->works.size() < impl_->buckets.size()) impl_->start_next();
  impl_->await_all();
}

void GradientBuckets::disarm() noexcept { impl_->armed = false; }

void GradientBuckets::release() {
  for (Impl::Hook& hook : impl_->hooks) impl_->detach(hook);
}

void GradientBuckets::drain() { impl_->await_all(); }

const device::LateSeconds& GradientBuckets::exposed() const noexcept { return impl_->exposed; }
const std::vector<Bucket>& GradientBuckets::buckets() const noexcept { return impl_->buckets; }
std::size_t GradientBuckets::started_early() const noexcept { return impl_->early; }

}  // namespace bunchtrain::parallel
