// SPDX-License-Identifier: Apache-2.0
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/data/hdf5_writer.hpp"
#include "bunchtrain/simulate/gflash.hpp"

namespace bunchtrain::simulate {
namespace {

constexpr double kInclinedScale = 50;  // LCD variable-angle files hold 50 times the GeV
constexpr double kElectronId = 11, kPhotonId = 22;

NamedTensors lcd_inclined(const NamedTensors& showers) {
  const at::Tensor& theta = showers["theta"];
  NamedTensors file;
  file.set("ECAL", showers["image"].mul(kInclinedScale));
  file.set("energy", showers["energy"]);
  file.set("theta", theta);
  file.set("mtheta", showers["measured_theta"]);
  file.set("eta", theta.div(2).tan().log().neg());
  return file;
}

NamedTensors lcd_fixed(const NamedTensors& showers, ShowerParticle particle) {
  const at::Tensor& energy = showers["energy"];
  const double id = particle == ShowerParticle::electron ? kElectronId : kPhotonId;
  NamedTensors file;
  file.set("ECAL", showers["image"]);
  file.set("energy", energy);
  file.set("target", at::stack({at::full(energy.sizes(), id, energy.options()), energy}, 1));
  return file;
}

}  // namespace

void write_gflash_showers(const std::filesystem::path& path, const GflashOptions& options,
                          const std::function<void(std::int64_t showers)>& progress) {
  options.validate();
  constexpr std::int64_t kShowersPerWrite = 128;
  constexpr int kDeflateLevel = 4;
  const std::int64_t chunk = options.inclined ? 8 : 16;
  data::Hdf5Writer file(path);
  std::int64_t written = 0;
  while (written < options.count) {
    const NamedTensors showers =
        make_gflash_showers(options, written, std::min(kShowersPerWrite, options.count - written));
    const NamedTensors rows = options.inclined ? lcd_inclined(showers) : lcd_fixed(showers, options.particle);
    for (const auto& [name, tensor] : rows) {
      if (written == 0)
        file.create_dataset(name, tensor, chunk, kDeflateLevel);
      else
        file.append(name, tensor);
    }
    written += showers["energy"].size(0);
    if (progress) progress(written);
  }
  file.write_attribute(
      "/", "description",
      fmt::format("GFlash showers of bunchtrain, LCD {} layout, ECAL in GeV{}, energy in GeV{}",
                  options.inclined ? "variable-angle" : "fixed-angle", options.inclined ? " x 50" : "",
                  options.inclined ? ", angles in rad" : ""));
  file.write_attribute("/", "seed", fmt::format("{}", options.seed));
  file.commit();
}

}  // namespace bunchtrain::simulate
