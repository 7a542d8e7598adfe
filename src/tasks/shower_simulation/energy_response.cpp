// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/energy_response.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_lstsq.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/3dgan/variant.hpp"
#include "training_showers.hpp"

namespace bunchtrain::shower_simulation {
namespace {

std::vector<float> numbers(const at::Tensor& tensor) {
  const at::Tensor row = tensor.to(at::kFloat).contiguous();
  return {row.const_data_ptr<float>(), row.const_data_ptr<float>() + row.numel()};
}

}  // namespace

EnergyResponse::EnergyResponse(std::vector<float> energies, std::array<double, 5> coefficients)
    : energies_(std::move(energies)), coefficients_(coefficients) {
  std::sort(energies_.begin(), energies_.end());
  quantiles_ = at::tensor(energies_, at::kFloat);
}

EnergyResponse EnergyResponse::to(c10::Device device) const {
  EnergyResponse there = *this;
  there.quantiles_ = quantiles_.to(device);
  return there;
}

EnergyResponse EnergyResponse::fit(const data::Dataset& dataset, std::int64_t showers) {
  if (dataset.size() == 0) throw DataError("there are no training showers to take energies from");
  const NamedTensors found = some_showers(dataset, showers, {"energy", "sum"});
  const at::Tensor x = found["energy"].to(at::kDouble) / models::kEnergyUnit;
  const at::Tensor ratio = found["sum"].to(at::kDouble) / x;
  const at::Tensor powers = at::stack({x.pow(4), x.pow(3), x.pow(2), x, at::Tensor(x).pow(0)}, 1);
  // gelsd: showers of one energy only leave the fit undetermined, and get its smallest solution.
  const at::Tensor fitted =
      std::get<0>(at::linalg_lstsq(powers, ratio.unsqueeze(1), std::nullopt, "gelsd")).contiguous();
  std::array<double, 5> coefficients{};
  std::copy_n(fitted.const_data_ptr<double>(), coefficients.size(), coefficients.begin());
  return {numbers(found["energy"]), coefficients};
}

EnergyResponse EnergyResponse::published() { return {{10, 500}, {0, 0, 0, 0, 2}}; }

at::Tensor EnergyResponse::draw(const at::Tensor& uniform) const {
  const at::Tensor place = uniform.to(at::kFloat) * static_cast<double>(energies_.size() - 1);
  const at::Tensor below = place.floor().to(at::kLong);
  const at::Tensor above = (below + 1).clamp_max(static_cast<std::int64_t>(energies_.size()) - 1);
  const at::Tensor low = quantiles_.index_select(0, below);
  return low + (place - below) * (quantiles_.index_select(0, above) - low);
}

at::Tensor EnergyResponse::sum(const at::Tensor& energy) const {
  const at::Tensor x = energy / models::kEnergyUnit;
  at::Tensor ratio = at::zeros_like(x);
  for (const double coefficient : coefficients_) ratio = ratio * x + coefficient;
  return ratio * x;
}

std::string EnergyResponse::describe() const {
  const auto& c = coefficients_;
  return fmt::format(
      "sum / x = {:.4g} {:+.4g} x {:+.4g} x^2 {:+.4g} x^3 {:+.4g} x^4, x = E / 100 GeV from {:.3g} to {:.3g}",
      c[4], c[3], c[2], c[1], c[0], lowest_energy() / models::kEnergyUnit,
      highest_energy() / models::kEnergyUnit);
}

}  // namespace bunchtrain::shower_simulation
