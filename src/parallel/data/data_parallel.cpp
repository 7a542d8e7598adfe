// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/data_parallel.hpp"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "backward_here.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/optim/gradient_norm.hpp"
#include "bunchtrain/parallel/gradient_buckets.hpp"
#include "bunchtrain/parallel/spatial_partition.hpp"
#include "bunchtrain/weights/module_weights.hpp"
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
                                       const DataParallelOptions& options) {
  // A communicator of the CPU asks for nothing: over MPI its networks may be anywhere.
  const c10::Device home = options.device.value_or(communicator.device());
  if (options.device || !home.is_cpu()) module.to(home);
  if (options.dtype) module.to(*options.dtype);
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
  const bool others = options.sync_batch_norm || options.spatial.has_value();  // collectives within backward
  const CollectivePlan wish = others ? CollectivePlan::after_backward : options.plan;
  const bool measure = wish == CollectivePlan::automatic && options.bucket_bytes == 0;
  const LinkFit fit = measure ? measure_link(communicator, arenas.front().values().device()) : LinkFit{};
  return make_plan(fit, gradient_bytes(arenas), wish, options.bucket_bytes);
}

nn::Losses detached(const nn::Losses& losses) {
  nn::Losses plain(losses.total.detach());
  for (const auto& [name, term] : losses.terms) plain.terms.set(name, term.detach());
  return plain;
}

/// Whether no rank has anything that the objective could be a mean of: samples, all of them without elements.
bool is_empty_step(const Pass& pass) {
  if (pass.objective.mean_over() == nn::MeanOver::samples || pass.batch.global_elements > 0) return false;
  expects(pass.batch.element_splits.defined(),
          "the objective is a mean over elements (nn::MeanOver), and the batch has none: its dataset is not "
          "ragged");
  return true;
}

/// In an empty step samples are counted, so that the ranks still find out whether they count the same one.
PassOptions counts_of(const Pass& pass) {
  const bool by_elements = pass.objective.mean_over() == nn::MeanOver::elements && !is_empty_step(pass);
  return {.samples = by_elements ? pass.batch.elements : pass.batch.size(),
          .global_samples = by_elements ? pass.batch.global_elements : pass.global_samples,
          .last = pass.last,
          .zero_first = pass.first};
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
  /// The one backward of a pass that has begun.
  void differentiate(const at::Tensor& loss, const PassOptions& options);
  /// What fails in a pass leaves none open.
  template <class Action>
  auto or_abandon(Action&& action);
  void finish();
  void abandon() noexcept;
  /// The footer of the first arena that can hold counts, or undefined.
  at::Tensor footer() const;
  void check_counts();
  /// What backward of `loss` begins with.
  at::Tensor root_gradient(const at::Tensor& loss) const;

  NamedTensors call(const NamedTensors& inputs) const;

  std::shared_ptr<torch::nn::Module> module;
  std::function<NamedTensors(const NamedTensors&)> forward;  ///< empty: as an `nn::Model`
  comm::Communicator communicator;
  tensor::ParameterArenas arenas;
  BucketPlan plan;
  GradientBuckets buckets;
  StepLedger ledger;
  at::Tensor loss_scale = {};  ///< undefined: none
  bool is_spatial;
  bool sync_batch_norm_wanted;
  bool sync_batch_norm;  ///< wanted and more than one rank
  std::optional<BackwardHere> in_pass = {};
  bool last_pass = false;
  bool repeated = false;               ///< the pass: its counts are checked by `conclude_repeat`
  device::LateSeconds exposed_before;  ///< of all steps but the last
};

DataParallel::Impl::Impl(std::shared_ptr<torch::nn::Module> network, comm::Communicator ranks,
                         const DataParallelOptions& options)
    : module(std::move(network)),
      forward(options.forward),
      communicator(std::move(ranks)),
      arenas(move_to_arenas(*module, communicator, options)),
      plan(choose_plan(communicator, arenas, options)),
      buckets(arenas, communicator, plan.bucket_bytes),
      ledger(communicator.size(), arenas.empty() ? communicator.device() : arenas.front().values().device(),
             options.spatial ? options.spatial->size() : 1),
      is_spatial(options.spatial.has_value()),
      sync_batch_norm_wanted(options.sync_batch_norm),
      sync_batch_norm(options.sync_batch_norm && communicator.size() > 1) {
  if (options.spatial)
    nn::set_partition(*module, create_spatial_partition(*options.spatial, {.grid = options.slabs}));
  if (sync_batch_norm) share_statistics(*module, communicator);
  if (communicator.rank() == 0) options.logger.info("gradients: " + plan.description);
}

NamedTensors DataParallel::Impl::call(const NamedTensors& inputs) const {
  if (forward) return forward(inputs);
  if (auto* const model = nn::as_model(*module)) return model->forward(inputs);
  throw ConfigError(
      "the network does not say how it is called: derive it from nn::Model (input_names, forward) beside "
      "torch::nn::Module, or set DataParallelOptions::forward");
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
  expects(!in_pass, "begin_pass before finish of the pass before");
  ledger.add(options);
  buckets.drain();
  for (auto& arena : arenas) {
    arena.begin_pass();
    if (options.zero_first) arena.zero_gradients();
  }
  ledger.upload(arenas);
  in_pass.emplace();
  last_pass = options.last;
  if (!last_pass || communicator.size() == 1) return;
  exposed_before.add(buckets.exposed());
  const at::NoGradGuard no_grad;
  if (const at::Tensor counts = footer(); counts.defined()) ledger.write_footer(counts);
  buckets.arm(one_backward && plan.kind == CollectivePlan::buckets);
}

void DataParallel::Impl::finish() {
  expects(in_pass.has_value(), "finish without begin_pass");
  in_pass.reset();
  for (auto& arena : arenas) arena.end_pass();
  if (!last_pass || communicator.size() == 1) return;
  buckets.finish();
  if (!repeated) check_counts();
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
  at::Tensor root = ledger.root_gradient_like(loss);
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

void DataParallel::Impl::differentiate(const at::Tensor& loss, const PassOptions& options) {
  // A mean over no samples is NaN, and NaN times zero too.
  // With shared statistics this rank must take part in backward.
  if (options.samples > 0 || (sync_batch_norm && loss.defined()))
    torch::autograd::backward({loss}, {root_gradient(loss)});
}

template <class Action>
auto DataParallel::Impl::or_abandon(Action&& action) {
  try {
    return action();
  } catch (...) {
    abandon();
    throw;
  }
}

void DataParallel::backward(const at::Tensor& loss, const PassOptions& options) {
  impl_->repeated = false;
  impl_->or_abandon([&] {
    impl_->begin(options, /*one_backward=*/true);
    impl_->differentiate(loss, options);
    impl_->finish();
  });
}

PassResult DataParallel::run(const Pass& pass) {
  PassResult result{.samples = pass.objective.count(pass.batch)};
  const PassOptions counts = counts_of(pass);
  // A captured pass has a stream of its own, on which the parameters' accumulators must be born.
  if (std::exchange(impl_->repeated, pass.repeated) || pass.repeated) impl_->buckets.release();
  const device::Moment begin(device());
  nn::Losses losses = pass.objective(impl_->call(pass.batch.tensors), pass.batch);
  const device::Moment middle(device());
  impl_->or_abandon([&] {
    impl_->begin(counts, /*one_backward=*/true);
    if (!is_empty_step(pass)) impl_->differentiate(losses.total, counts);
    if (!pass.last) impl_->finish();
  });
  result.forward.add(begin, middle);
  result.backward.add(middle, device::Moment(device()));
  result.losses = detached(losses);
  return result;
}

void DataParallel::finish() {
  impl_->or_abandon([&] { impl_->finish(); });
}

std::string DataParallel::why_not_repeated() const {
  if (impl_->is_spatial) return "ranks share images";
  return impl_->communicator.size() == 1 ? "" : impl_->communicator.why_not_captured();
}

void DataParallel::prepare_repeat(const Pass& pass) {
  impl_->ledger.add(counts_of(pass));
  for (auto& arena : impl_->arenas) arena.begin_pass();
  impl_->ledger.upload(impl_->arenas);
}

void DataParallel::conclude_repeat() {
  if (impl_->communicator.size() > 1) impl_->check_counts();
}

Evaluation DataParallel::evaluate(const Batch& batch, const nn::Objective& objective) {
  const at::NoGradGuard no_gradients;
  Evaluation evaluation{.outputs = impl_->call(batch.tensors)};
  evaluation.losses = objective(evaluation.outputs, batch);
  return evaluation;
}

void DataParallel::begin_pass(const PassOptions& options) {
  if (impl_->loss_scale.defined())
    throw ConfigError(
        "begin_pass: the loss is scaled by a number of the device (scale_losses_by, precision float16), "
        "which "
        "root_gradient() does not know; run the pass by backward, or train in another precision");
  impl_->repeated = false;
  impl_->begin(options, /*one_backward=*/false);
}
double DataParallel::root_gradient() const noexcept { return impl_->ledger.root_gradient(); }

void DataParallel::scale_losses_by(const at::Tensor& scale) {
  expects(scale.defined() && scale.dim() == 0 && scale.device() == device(),
          "scale_losses_by needs a scalar on the network's device");
  impl_->loss_scale = scale.detach();
}

void DataParallel::synchronize_buffers(std::int64_t samples) {
  expects(samples >= 0, "synchronize_buffers: samples must not be negative");
  impl_->ledger.check_footer();
  combine_buffers(*impl_->module, impl_->communicator, samples);
}

NetworkState DataParallel::state(std::int64_t samples) {
  const NamedTensors buffers = floating_buffers(module());
  NetworkState captured{.buffers_of_rank = clone(buffers)};
  synchronize_buffers(samples);
  captured.network = with_cloned_buffers(module());
  copy_into(buffers, captured.buffers_of_rank.tensors);
  return captured;
}

void DataParallel::load(const NamedTensors& network, const NamedTensors* buffers_of_rank,
                        std::string_view origin) {
  weights::load_into(module(), network, origin);
  if (buffers_of_rank) copy_into(floating_buffers(module()), *buffers_of_rank);
  for (auto& arena : impl_->arenas) arena.bump_versions();
}

NamedTensors DataParallel::gather() { return weights::named_state(module()); }

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

at::Tensor DataParallel::gradient_norm() { return optim::gradient_norm(impl_->arenas); }
tensor::ParameterArenas& DataParallel::arenas() noexcept { return impl_->arenas; }

std::vector<OwnedRange> DataParallel::owned_ranges() const {
  std::vector<OwnedRange> whole;
  for (std::size_t i = 0; i < impl_->arenas.size(); ++i)
    whole.push_back({.arena = i, .begin = 0, .end = impl_->arenas[i].values().numel()});
  return whole;
}

std::vector<comm::Axis> DataParallel::axes() const {
  if (impl_->is_spatial) return {comm::Axis::data, comm::Axis::spatial};
  return {comm::Axis::data};
}

torch::nn::Module& DataParallel::module() noexcept { return *impl_->module; }
comm::Communicator& DataParallel::replicas() noexcept { return impl_->communicator; }
c10::Device DataParallel::device() const noexcept { return impl_->arenas.front().values().device(); }
double DataParallel::exposed_seconds() const { return impl_->buckets.exposed().value(); }

device::LateSeconds DataParallel::total_exposed() const {
  device::LateSeconds total = impl_->exposed_before;
  total.add(impl_->buckets.exposed());
  return total;
}

const std::string& DataParallel::describe() const noexcept { return impl_->plan.description; }

/// As in the options, also on one rank: a run may be resumed on several.
std::string DataParallel::arithmetic() const {
  return impl_->sync_batch_norm_wanted ? "batch norm over all ranks" : "";
}

}  // namespace bunchtrain::parallel
