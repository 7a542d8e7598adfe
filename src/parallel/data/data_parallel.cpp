// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/data_parallel.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "backward_here.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/parallel/gradient_buckets.hpp"
#include "communicator_statistics.hpp"
#include "module_buffers.hpp"
#include "network_agreement.hpp"
#include "step_ledger.hpp"

namespace bunchtrain::parallel {

namespace {

std::vector<tensor::NamedParameter> named_parameters(const torch::nn::Module& module) {
  std::vector<tensor::NamedParameter> parameters;
  for (const auto& item : module.named_parameters()) {
    if (item.value().defined()) parameters.push_back({item.key(), item.value()});
  }
  return parameters;
}

/// Parameters in the order in which backward makes their gradients, as far as registration
/// tells: the last layer first.
tensor::ParameterArenas move_to_arenas(torch::nn::Module& module, const comm::Communicator& communicator,
                                       std::optional<c10::Device> device) {
  // A communicator of the CPU asks for nothing: over MPI its networks may be anywhere.
  const c10::Device home = device.value_or(communicator.device());
  if (device || !home.is_cpu()) module.to(home);
  auto parameters = named_parameters(module);
  require_same_network(communicator, parameters);
  std::ranges::reverse(parameters);
  return tensor::create_arenas(std::move(parameters));
}

std::int64_t gradient_bytes(const tensor::ParameterArenas& arenas) {
  std::int64_t bytes = 0;
  for (const auto& arena : arenas) bytes += static_cast<std::int64_t>(arena.gradients().nbytes());
  return bytes;
}

BucketPlan choose_plan(comm::Communicator& communicator, const tensor::ParameterArenas& arenas,
                       const DataParallelOptions& options) {
  if (communicator.size() == 1) return {.description = "one rank: gradients are not communicated"};
  const CollectivePlan wish = options.sync_batch_norm ? CollectivePlan::after_backward : options.plan;
  const bool measure = wish == CollectivePlan::automatic && options.bucket_bytes == 0;
  const LinkFit fit = measure ? measure_link(communicator, arenas.front().values().device()) : LinkFit{};
  return make_plan(fit, gradient_bytes(arenas), wish, options.bucket_bytes);
}

void share_statistics(torch::nn::Module& module, const comm::Communicator& communicator) {
  const auto reducer = std::make_shared<CommunicatorStatistics>(communicator);
  for (const auto& part : module.modules()) {
    if (auto* const norm = dynamic_cast<nn::BatchNormImpl*>(part.get())) norm->set_reducer(reducer);
  }
}

}  // namespace

struct DataParallel::Impl {
  Impl(std::shared_ptr<torch::nn::Module> network, comm::Communicator ranks,
       const DataParallelOptions& options);

  void begin(const PassOptions& options, bool one_backward);
  void finish();
  void abandon() noexcept;
  /// The footer of the first arena that can hold counts, or undefined.
  at::Tensor footer() const;
  void check_counts();
  /// What backward of `loss` begins with.
  at::Tensor root_gradient(const at::Tensor& loss) const;

  std::shared_ptr<torch::nn::Module> module;
  comm::Communicator communicator;
  tensor::ParameterArenas arenas;
  BucketPlan plan;
  GradientBuckets buckets;
  StepLedger ledger;
  at::Tensor loss_scale = {};  ///< undefined: none
  bool sync_batch_norm_wanted;
  bool sync_batch_norm;  ///< wanted and more than one rank
  std::optional<BackwardHere> in_pass = {};
  bool last_pass = false;
  device::LateSeconds exposed_before;  ///< of all steps but the last
};

DataParallel::Impl::Impl(std::shared_ptr<torch::nn::Module> network, comm::Communicator ranks,
                         const DataParallelOptions& options)
    : module(std::move(network)),
      communicator(std::move(ranks)),
      arenas(move_to_arenas(*module, communicator, options.device)),
      plan(choose_plan(communicator, arenas, options)),
      buckets(arenas, communicator, plan.bucket_bytes),
      ledger(communicator.size()),
      sync_batch_norm_wanted(options.sync_batch_norm),
      sync_batch_norm(options.sync_batch_norm && communicator.size() > 1) {
  if (sync_batch_norm) share_statistics(*module, communicator);
  if (communicator.rank() == 0) options.logger.info("gradients: " + plan.description);
}

at::Tensor DataParallel::Impl::footer() const {
  for (const auto& arena : arenas) {
    const at::ScalarType dtype = arena.values().scalar_type();
    if (dtype != at::kFloat && dtype != at::kDouble) continue;
    return arena.gradients_with_footer().narrow(0, arena.gradients().numel(),
                                                tensor::ParameterArena::kFooterElements);
  }
  return {};
}

void DataParallel::Impl::begin(const PassOptions& options, bool one_backward) {
  expects(!in_pass, "begin_pass before finish_gradients of the pass before");
  ledger.add(options);
  buckets.drain();
  for (auto& arena : arenas) {
    arena.begin_pass();
    if (options.zero_first) arena.zero_gradients();
  }
  in_pass.emplace();
  last_pass = options.last;
  if (!last_pass || communicator.size() == 1) return;
  exposed_before.add(buckets.exposed());
  const at::NoGradGuard no_grad;
  if (const at::Tensor counts = footer(); counts.defined()) ledger.write_footer(arenas, counts);
  buckets.arm(one_backward && plan.kind == CollectivePlan::buckets);
}

void DataParallel::Impl::finish() {
  expects(in_pass.has_value(), "finish_gradients without begin_pass");
  in_pass.reset();
  for (auto& arena : arenas) arena.end_pass();
  if (!last_pass || communicator.size() == 1) return;
  buckets.finish();
  check_counts();
}

/// A GPU's are on their way while the host goes on: they are looked at a step later, when they have arrived.
void DataParallel::Impl::check_counts() {
  ledger.check_footer();
  const at::Tensor counts = footer();
  if (!counts.defined()) return;
  ledger.take_footer(counts);
  if (counts.is_cpu()) ledger.check_footer();
}

at::Tensor DataParallel::Impl::root_gradient(const at::Tensor& loss) const {
  const at::NoGradGuard no_grad;
  at::Tensor root = at::full_like(loss, ledger.root_gradient());
  return loss_scale.defined() ? root.mul_(loss_scale) : root;
}

void DataParallel::Impl::abandon() noexcept {
  in_pass.reset();
  buckets.disarm();
}

DataParallel::DataParallel(std::shared_ptr<torch::nn::Module> module, comm::Communicator communicator,
                           DataParallelOptions options) {
  expects(module != nullptr, "DataParallel needs a module");
  impl_ = std::make_unique<Impl>(std::move(module), std::move(communicator), options);
  broadcast(0);
}

DataParallel::~DataParallel() = default;
DataParallel::DataParallel(DataParallel&&) noexcept = default;
DataParallel& DataParallel::operator=(DataParallel&&) noexcept = default;

void DataParallel::backward(const at::Tensor& loss, const PassOptions& options) {
  impl_->begin(options, /*one_backward=*/true);
  try {
    // A mean over no samples is NaN, and NaN times zero too. With shared statistics this rank
    // must take part in backward.
    if (options.samples > 0 || (impl_->sync_batch_norm && loss.defined())) {
      torch::autograd::backward({loss}, {impl_->root_gradient(loss)});
    }
    impl_->finish();
  } catch (...) {
    impl_->abandon();
    throw;
  }
}

void DataParallel::begin_pass(const PassOptions& options) {
  if (impl_->loss_scale.defined())
    throw ConfigError(
        "begin_pass: the loss is scaled by a number of the device (scale_losses_by, precision float16), "
        "which "
        "root_gradient() does not know; run the pass by backward, or train in another precision");
  impl_->begin(options, /*one_backward=*/false);
}
double DataParallel::root_gradient() const noexcept { return impl_->ledger.root_gradient(); }

void DataParallel::scale_losses_by(const at::Tensor& scale) {
  expects(scale.defined() && scale.dim() == 0 && scale.device() == device(),
          "scale_losses_by needs a scalar on the network's device");
  impl_->loss_scale = scale.detach();
}

void DataParallel::finish_gradients() {
  try {
    impl_->finish();
  } catch (...) {
    impl_->abandon();
    throw;
  }
}

void DataParallel::synchronize_buffers(std::int64_t samples) {
  expects(samples >= 0, "synchronize_buffers: samples must not be negative");
  impl_->ledger.check_footer();
  combine_buffers(*impl_->module, impl_->communicator, samples);
}

void DataParallel::broadcast(int root) {
  if (impl_->communicator.size() == 1) return;
  const at::NoGradGuard no_grad;
  for (auto& arena : impl_->arenas) {
    arena.begin_pass();
    impl_->communicator.broadcast(arena.values(), root).wait();
    arena.bump_versions();
  }
  broadcast_buffers(*impl_->module, impl_->communicator, root);
}

tensor::ParameterArenas& DataParallel::arenas() noexcept { return impl_->arenas; }
torch::nn::Module& DataParallel::module() noexcept { return *impl_->module; }
comm::Communicator& DataParallel::communicator() noexcept { return impl_->communicator; }
c10::Device DataParallel::device() const noexcept { return impl_->arenas.front().values().device(); }
double DataParallel::exposed_seconds() const { return impl_->buckets.exposed().value(); }

device::LateSeconds DataParallel::total_exposed() const {
  device::LateSeconds total = impl_->exposed_before;
  total.add(impl_->buckets.exposed());
  return total;
}

bool DataParallel::sync_batch_norm() const noexcept { return impl_->sync_batch_norm_wanted; }
const std::string& DataParallel::plan_description() const noexcept { return impl_->plan.description; }

}  // namespace bunchtrain::parallel
