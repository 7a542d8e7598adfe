// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/objectives.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/huber_loss.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "named_parts.hpp"

namespace bunchtrain::train {
namespace {

/// Losses stay in float32 under autocast (DESIGN decision 13).
at::Tensor wide(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? tensor : tensor.to(at::kFloat);
}

/// A ragged batch has two kinds of rows; ranks would count the wrong ones in silence.
void require_rows_of(nn::MeanOver mean_over, const std::string& target, std::int64_t rows,
                     const Batch& batch) {
  if (!batch.element_splits.defined()) return;
  const bool elements = mean_over == nn::MeanOver::elements;
  const std::int64_t expected = elements ? batch.elements : batch.size();
  if (rows != expected)
    throw ConfigError(fmt::format(
        "'{}' has {} rows, and the objective is a mean over the batch's {} {} (mean_over): '{}' must have "
        "one row for each of them",
        target, rows, expected, elements ? "elements" : "samples", target));
}

/// Terms [B] to their weighted mean over samples or elements; 0 with a graph if there are none.
template <class Target>
at::Tensor mean_of(at::Tensor terms, const Batch& batch, const Target& names, const std::string& target) {
  require_rows_of(names.mean_over, target, terms.size(0), batch);
  const auto count = static_cast<double>(std::max<std::int64_t>(terms.size(0), 1));
  if (const at::Tensor* weight = batch.tensors.find(names.weight))
    terms = terms * weight->to(terms.scalar_type());
  return terms.sum() / count;
}

/// [B] of an output [B] or [B, 1].
at::Tensor as_column(const NamedTensors& outputs, const std::string& name, std::int64_t samples) {
  const at::Tensor& output = detail::output_of(outputs, name);
  const bool fits = output.dim() == 1 || (output.dim() == 2 && output.size(1) == 1);
  if (!fits || output.size(0) != samples)
    throw ConfigError(fmt::format("output '{}' must be [{}] or [{}, 1], one number per target; it is [{}]",
                                  name, samples, samples, fmt::join(output.sizes(), ", ")));
  return wide(output.reshape({samples}));
}

at::Tensor regression_terms(const RegressionTarget& names, const at::Tensor& estimate,
                            const at::Tensor& target, const NamedTensors& outputs) {
  const at::Tensor residual = names.scale == 1 ? estimate - target : (estimate - target) / names.scale;
  switch (names.loss) {
    case RegressionLoss::mse:
      return residual.square();
    case RegressionLoss::huber:
      return at::huber_loss(residual, at::zeros_like(residual), at::Reduction::None);
    case RegressionLoss::l1:
      return residual.abs();
    case RegressionLoss::gaussian: {
      const at::Tensor width = as_column(outputs, names.width, target.size(0)) / names.scale;
      return width.log() + (residual / width).square() / 2;
    }
  }
  return residual;
}

void validate(const RegressionTarget& names) {
  expects(!names.output.empty(), "a regression needs the name of the network's output");
  expects(!names.target.empty(), "a regression needs the name of its target");
  if (!std::isfinite(names.scale) || names.scale <= 0)
    throw ConfigError(fmt::format("scale of '{}'", names.target), fmt::format("{}", names.scale),
                      "a finite number above 0");
  expects(names.width.empty() == (names.loss != RegressionLoss::gaussian),
          "the gaussian loss needs the name of the output that is the width, and no other loss uses one");
}

void validate(const std::vector<Head>& heads) {
  expects(!heads.empty(), "a network needs a head or more");
  std::set<std::string> names;
  for (const Head& head : heads) {
    expects(static_cast<bool>(head.objective), fmt::format("head '{}' has no objective", head.name));
    if (!names.insert(head.name).second)
      throw ConfigError("heads", head.name, "names that differ: terms and metrics are told apart by them");
    if (!std::isfinite(head.weight) || head.weight < 0)
      throw ConfigError(fmt::format("weight of head '{}'", head.name), fmt::format("{}", head.weight),
                        "0 or more");
    if (head.objective.mean_over() != heads.front().objective.mean_over())
      throw ConfigError(
          "mean_over", head.name,
          fmt::format("means over the same as of head '{}': samples or elements", heads.front().name));
  }
}

}  // namespace

nn::Objective classification(ClassificationTarget names) {
  const nn::MeanOver mean_over = names.mean_over;
  auto loss = [names = std::move(names)](const NamedTensors& outputs, const Batch& batch) -> nn::Losses {
    const at::Tensor& logits = detail::output_of(outputs, names.output);
    const at::Tensor& label = detail::label_of(batch, names.label);
    if (logits.dim() != 2 || logits.size(0) != label.size(0))
      throw ConfigError(fmt::format("output '{}' must be logits [{}, C], one row per label; it is [{}]",
                                    names.output, label.size(0), fmt::join(logits.sizes(), ", ")));
    const at::Tensor log_probability =
        at::log_softmax(wide(logits), 1).gather(1, label.unsqueeze(1)).squeeze(1);
    return mean_of(-log_probability, batch, names, names.label);
  };
  return {std::move(loss), mean_over};
}

nn::Objective regression(RegressionTarget names) {
  validate(names);
  const nn::MeanOver mean_over = names.mean_over;
  auto loss = [names = std::move(names)](const NamedTensors& outputs, const Batch& batch) -> nn::Losses {
    const at::Tensor& given = detail::target_of(batch, names.target);
    const at::Tensor target = given.reshape({given.size(0)});
    const at::Tensor estimate = as_column(outputs, names.output, target.size(0));
    return mean_of(regression_terms(names, estimate, target.to(estimate.scalar_type()), outputs), batch,
                   names, names.target);
  };
  return {std::move(loss), mean_over};
}

nn::Objective heads(std::vector<Head> heads) {
  validate(heads);
  const nn::MeanOver mean_over = heads.front().objective.mean_over();
  auto loss = [heads = std::move(heads)](const NamedTensors& outputs, const Batch& batch) -> nn::Losses {
    nn::Losses all;
    for (const Head& head : heads) {
      try {
        const at::Tensor loss = head.objective(outputs, batch).total;
        all.terms.set(head.name, loss);
        all.total = all.total.defined() ? all.total + head.weight * loss : head.weight * loss;
      } catch (Error& error) {
        error.add_context(fmt::format("in head '{}'", head.name));
        throw;
      }
    }
    return all;
  };
  return {std::move(loss), mean_over};
}

}  // namespace bunchtrain::train
