// SPDX-License-Identifier: Apache-2.0
#include "shower_batch.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "bunchtrain/ops/shower_observables.hpp"

namespace bunchtrain::simulate {

NamedTensors make_shower_batch(const ShowerGenerator& generator, std::int64_t first, std::int64_t count,
                               Threads threads) {
  const auto& [x, y, z] = generator.options().cells;
  at::Tensor images = at::zeros({count, x, y, z}, at::kFloat);
  at::Tensor energies = at::empty({count}, at::kFloat), thetas = at::empty({count}, at::kFloat);
  auto* image = images.mutable_data_ptr<float>();
  auto* energy = energies.mutable_data_ptr<float>();
  auto* theta = thetas.mutable_data_ptr<float>();
  const std::int64_t cells = generator.cells();
  constexpr std::int64_t kShowersPerTask = 4;
  const std::int64_t per_task = threads == Threads::one ? std::max<std::int64_t>(count, 1) : kShowersPerTask;
  at::parallel_for(0, count, per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ShowerTruth truth =
          generator.make(first + i, {image + i * cells, static_cast<std::size_t>(cells)});
      energy[i] = truth.energy;
      theta[i] = truth.theta;
    }
  });
  NamedTensors showers;
  showers.set("image", images);
  showers.set("energy", std::move(energies));
  if (generator.options().inclined) {
    showers.set("theta", std::move(thetas));
    showers.set("measured_theta", ops::ecal_angle(images));
  }
  return showers;
}

}  // namespace bunchtrain::simulate
