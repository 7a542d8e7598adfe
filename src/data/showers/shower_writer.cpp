// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/shower_writer.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <utility>

namespace bunchtrain::data {
namespace {

constexpr double kInclinedScale = 50;  // LCD variable-angle files hold 50 times the GeV
constexpr std::int64_t kFixedChunk = 16, kInclinedChunk = 8;
constexpr int kDeflateLevel = 4;

}  // namespace

ShowerWriter::ShowerWriter(const std::filesystem::path& path, const ShowerWriterOptions& options)
    : ShowerWriter(OutputFile{.path = path, .force = true}, options) {}

ShowerWriter::ShowerWriter(OutputFile output, const ShowerWriterOptions& options)
    : options_(options), file_(std::move(output), options.description) {
  file_.write_attribute(
      "/", "description",
      fmt::format("{}, LCD {} layout, ECAL in GeV{}, energy in GeV{}", options.description,
                  options.inclined ? "variable-angle" : "fixed-angle", options.inclined ? " x 50" : "",
                  options.inclined ? ", angles in rad" : ""));
  file_.write_attribute("/", "seed", fmt::format("{}", options.seed));
}

NamedTensors ShowerWriter::to_rows(const NamedTensors& showers) const {
  const at::Tensor& energy = showers["energy"];
  NamedTensors rows;
  rows.set("energy", energy);
  if (!options_.inclined) {
    rows.set("ECAL", showers["image"]);
    const at::Tensor id = at::full(energy.sizes(), static_cast<double>(options_.particle), energy.options());
    rows.set("target", at::stack({id, energy}, 1));
    return rows;
  }
  const at::Tensor& theta = showers["theta"];
  rows.set("ECAL", showers["image"].mul(kInclinedScale));
  rows.set("theta", theta);
  rows.set("mtheta", showers["measured_theta"]);
  rows.set("eta", theta.div(2).tan().log().neg());
  return rows;
}

void ShowerWriter::append(const NamedTensors& showers) {
  for (const auto& [name, tensor] : to_rows(showers)) {
    if (begun_)
      file_.append(name, tensor);
    else
      file_.create_dataset(name, tensor, options_.inclined ? kInclinedChunk : kFixedChunk, kDeflateLevel);
  }
  begun_ = true;
}

void ShowerWriter::commit() { file_.commit(); }

}  // namespace bunchtrain::data
