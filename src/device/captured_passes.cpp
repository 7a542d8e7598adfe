// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/captured_passes.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/clone.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "bunchtrain/tensor/detail/named_layouts.hpp"
#include "stream_event.hpp"

namespace bunchtrain::device {
namespace {

using Clock = std::chrono::steady_clock;

/// Where a graph reads them: no caller's memory, and written to also by callers who are not in LibTorch's inference mode.
NamedTensors own_copy(const NamedTensors& tensors) {
  const c10::InferenceMode of_any_caller(false);
  const at::NoGradGuard no_gradients;
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) copies.set(name, tensor.clone());
  return copies;
}

/// From a page-locked tensor the copy is waited for: its owner may write to it when the call has returned.
void copy_into(const NamedTensors& places, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors)
    at::Tensor(places[name]).copy_(tensor, /*non_blocking=*/!tensor.is_cpu());
}

/// A graph with its tensors, and where the device is through with them.
struct Pass {
  ~Pass() {
    try {
      if (end) end->wait();
    } catch (const std::exception&) {  // the device is lost, and nothing runs on it
    }
  }
  void end_on_current_stream(c10::Device device) {
    if (device.is_cuda()) end.emplace(device, StreamEvent::Kind::order);
  }
  void order_current_stream() const {
    if (end) end->order_current_stream();
  }

  std::optional<StreamEvent> end = {};
  NamedTensors inputs = {}, outputs = {};
  std::unique_ptr<StepGraph> graph = {};
};

/// Inputs that look alike.
struct Shape {
  explicit Shape(const NamedTensors& inputs) : layouts(inputs) {}

  tensor::NamedLayouts layouts;  ///< what a graph has in its launches, and not in memory
  std::int64_t seen = 0;
  double host_seconds = 0;
  std::vector<std::pair<Moment, Moment>> timed = {};  ///< of the device, for the same passes
  bool is_unbound = false;                            ///< launches are not what its passes wait for
  std::vector<std::unique_ptr<Pass>> idle = {};
};

/// Of this process, by the thread that captures: a wait for the device, with which a capture begins, would break another one.
std::atomic_flag capture_underway;

}  // namespace

struct CapturedPasses::Impl {
  /// What a call does.
  struct Turn {
    Shape* shape = nullptr;                 ///< null: nothing but an eager pass
    std::unique_ptr<Pass> pass = {};        ///< to be repeated
    bool is_timed = false, is_due = false;  ///< an eager pass, which is noted; which is taken down
  };

  Turn turn_of(const NamedTensors& inputs);
  Shape* shape_of(const NamedTensors& inputs);
  bool launches_bind(Shape& shape);
  void compute(const NamedTensors& inputs, const Take& take, Shape* timed);
  void repeat(Pass& pass, const NamedTensors& inputs, const Take& take) const;
  bool begin_capture();
  void take_down(Shape& shape, const NamedTensors& inputs);
  std::unique_ptr<Pass> captured(const NamedTensors& inputs);
  void give_back(Shape& shape, std::unique_ptr<Pass> pass) noexcept;

  const CapturedPassesOptions options;
  const Forward bring, forward;
  std::mutex mutex = {};  ///< of what follows; nothing is waited for under it
  std::vector<std::unique_ptr<Shape>> shapes = {};
  std::int64_t made = 0;  ///< graphs that are there or being taken down
  std::string obstacle = options.obstacle;
  GraphUse use = {};
};

Shape* CapturedPasses::Impl::shape_of(const NamedTensors& inputs) {
  const auto found =
      std::ranges::find_if(shapes, [&](const auto& shape) { return shape->layouts.fit(inputs); });
  if (found != shapes.end()) return found->get();
  if (shapes.size() == kMostShapes) return nullptr;
  shapes.push_back(std::make_unique<Shape>(inputs));
  return shapes.back().get();
}

/// Once its warm-up is over. Unknown as long as the device is at one of them.
bool CapturedPasses::Impl::launches_bind(Shape& shape) {
  if (options.wish == CudaGraph::on) return true;
  if (!std::ranges::all_of(shape.timed, [](const auto& pass) { return pass.second.passed(); })) return false;
  double device_seconds = 0;
  for (const auto& [begin, end] : shape.timed) device_seconds += options.graphs.seconds(begin, end);
  if (shape.host_seconds >= kBinding * device_seconds) return true;
  const double passes = static_cast<double>(shape.timed.size());
  shape.is_unbound = true;
  shape.timed.clear();
  use.why_eager = fmt::format("the host enqueues a pass in {:.2f} ms, the GPU takes {:.2f} ms",
                              1e3 * shape.host_seconds / passes, 1e3 * device_seconds / passes);
  return false;
}

CapturedPasses::Impl::Turn CapturedPasses::Impl::turn_of(const NamedTensors& inputs) {
  const std::lock_guard lock(mutex);
  Shape* const shape = shape_of(inputs);
  if (shape && !shape->idle.empty()) {
    ++use.repeated;
    Turn turn{.shape = shape, .pass = std::move(shape->idle.back())};
    shape->idle.pop_back();
    return turn;
  }
  ++use.eager;
  if (!obstacle.empty()) return {};
  if (!shape) {
    use.why_eager = fmt::format("more than {} shapes of inputs", kMostShapes);
    return {};
  }
  if (shape->is_unbound) return {};
  if (shape->seen++ < kWarmUps) {
    const bool loads_kernels = shape->seen == 1;
    return {.shape = shape, .is_timed = options.wish == CudaGraph::automatic && !loads_kernels};
  }
  if (!launches_bind(*shape)) return {};
  if (made == options.most_graphs) {
    use.why_eager = fmt::format("there are {} graphs, as many as most_graphs allows", made);
    return {};
  }
  return {.shape = shape, .is_due = true};
}

void CapturedPasses::Impl::compute(const NamedTensors& inputs, const Take& take, Shape* timed) {
  const NamedTensors ready = bring(inputs);
  if (!timed) return take(forward(ready), /*lent=*/false);
  const Moment begin(options.device);
  const auto start = Clock::now();
  const NamedTensors outputs = forward(ready);
  const double host_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const Moment end(options.device);
  {
    const std::lock_guard lock(mutex);
    timed->host_seconds += host_seconds;
    timed->timed.emplace_back(begin, end);
  }
  take(outputs, /*lent=*/false);
}

void CapturedPasses::Impl::repeat(Pass& pass, const NamedTensors& inputs, const Take& take) const {
  pass.order_current_stream();
  copy_into(pass.inputs, inputs);
  pass.graph->replay();
  take(pass.outputs, /*lent=*/true);
}

/// Its tensors are free again for whoever comes behind this on its stream, also if the call threw.
void CapturedPasses::Impl::give_back(Shape& shape, std::unique_ptr<Pass> pass) noexcept {
  try {
    pass->end_on_current_stream(options.device);
    const std::lock_guard lock(mutex);
    shape.idle.push_back(std::move(pass));
  } catch (const std::exception&) {  // a lost device, or no memory for a pointer: a graph less
  }
}

std::unique_ptr<Pass> CapturedPasses::Impl::captured(const NamedTensors& inputs) {
  auto pass = std::make_unique<Pass>();
  pass->inputs = own_copy(bring(inputs));
  pass->graph = options.graphs.create();
  pass->graph->capture([this, own = pass.get()] { own->outputs = forward(own->inputs); });
  return pass;
}

/// The first of some that come at once; the others' turn is next time.
bool CapturedPasses::Impl::begin_capture() {
  if (capture_underway.test_and_set()) return false;
  const std::lock_guard lock(mutex);
  const bool has_place = made < options.most_graphs && obstacle.empty();
  if (has_place) ++made;
  if (!has_place) capture_underway.clear();
  return has_place;
}

void CapturedPasses::Impl::take_down(Shape& shape, const NamedTensors& inputs) {
  if (!begin_capture()) return;
  std::unique_ptr<Pass> pass;
  std::string refusal;
  try {
    pass = captured(inputs);
  } catch (const std::exception& error) {
    refusal = why_not_captured(error);
  }
  capture_underway.clear();
  if (pass) {
    give_back(shape, std::move(pass));
    const std::lock_guard lock(mutex);
    ++use.graphs;
  } else {
    const std::lock_guard lock(mutex);
    --made;
    obstacle = use.why_eager = std::move(refusal);
  }
}

CapturedPasses::CapturedPasses(CapturedPassesOptions options, Forward bring, Forward forward)
    : impl_(
          new Impl{.options = std::move(options), .bring = std::move(bring), .forward = std::move(forward)}) {
  impl_->use.why_eager = impl_->obstacle;
}

CapturedPasses::~CapturedPasses() = default;

void CapturedPasses::run(const NamedTensors& inputs, const Take& take) {
  // Work of a caller who captures it is part of the caller's graph.
  if (impl_->options.wish == CudaGraph::off || is_capturing(impl_->options.device))
    return impl_->compute(inputs, take, nullptr);
  Impl::Turn turn = impl_->turn_of(inputs);
  if (!turn.pass) {
    impl_->compute(inputs, take, turn.is_timed ? turn.shape : nullptr);
    if (turn.is_due) impl_->take_down(*turn.shape, inputs);
    return;
  }
  try {
    impl_->repeat(*turn.pass, inputs, take);
  } catch (...) {
    impl_->give_back(*turn.shape, std::move(turn.pass));
    throw;
  }
  impl_->give_back(*turn.shape, std::move(turn.pass));
}

GraphUse CapturedPasses::use() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->use;
}

}  // namespace bunchtrain::device
