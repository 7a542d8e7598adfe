// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Jets of random shapes for networks in ONNX files, and what the plain engine makes of them.

#include <ATen/ops/from_blob.h>
#include <ATen/ops/softmax.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "bunchtrain/infer/predictor.hpp"
#include "onnx/evaluator.hpp"

namespace bunchtrain::infer::test {

struct OnnxJets {
  std::int64_t count = 0, slots = 0, dims = 2, columns = 7;
  std::vector<float> points, features;  ///< [count, slots, ...], 0 where nothing is
  std::vector<char> mask;

  std::map<std::string, onnx::Array> arrays() const {
    return {{"points", {{count, slots, dims}, {points.begin(), points.end()}}},
            {"features", {{count, slots, columns}, {features.begin(), features.end()}}},
            {"mask", {{count, slots}, {mask.begin(), mask.end()}}}};
  }
  /// Outputs of the modules that were trained, by name.
  std::map<std::string, std::vector<float>> plain(const Predictor& predictor) const {
    const auto tensor = [](const auto& values, at::IntArrayRef shape, at::ScalarType type) {
      return at::from_blob(const_cast<void*>(static_cast<const void*>(values.data())), shape, type).clone();
    };
    const NamedTensors outputs =
        predictor.run({{"points", tensor(points, {count, slots, dims}, at::kFloat)},
                       {"features", tensor(features, {count, slots, columns}, at::kFloat)},
                       {"mask", tensor(mask, {count, slots}, at::kBool)}});
    std::map<std::string, std::vector<float>> found;
    for (const auto& [name, values] : outputs) {
      const at::Tensor dense =
          (name == "logits" ? at::softmax(values, -1) : values).to(at::kFloat).contiguous();
      const float* begin = dense.const_data_ptr<float>();
      found[name == "logits" ? "probabilities" : name].assign(begin, begin + dense.numel());
    }
    return found;
  }
};

/// Up to 6 jets with up to 12 more slots than `least`, each full, empty or in between.
inline OnnxJets random_jets(std::int64_t least, std::mt19937_64& random) {
  OnnxJets jets{.count = static_cast<std::int64_t>(1 + random() % 6),
                .slots = least + static_cast<std::int64_t>(random() % 12),
                .points = {},
                .features = {},
                .mask = {}};
  std::normal_distribution<float> normal;
  for (std::int64_t jet = 0; jet < jets.count; ++jet) {
    const std::int64_t choice[] = {0, jets.slots, static_cast<std::int64_t>(random()) & 63};
    const std::int64_t particles = std::min(choice[random() % 3], jets.slots);
    for (std::int64_t slot = 0; slot < jets.slots; ++slot) {
      const bool real = slot < particles;
      for (std::int64_t c = 0; c < jets.dims; ++c) jets.points.push_back(real ? normal(random) : 0);
      for (std::int64_t c = 0; c < jets.columns; ++c) jets.features.push_back(real ? normal(random) : 0);
      jets.mask.push_back(real ? 1 : 0);
    }
  }
  return jets;
}

}  // namespace bunchtrain::infer::test
