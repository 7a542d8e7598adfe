// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/from_blob.h>

#include <memory>
#include <random>
#include <utility>

#include "../onnx/runtime.hpp"
#include "bunchtrain/infer/fast_generator.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "contenders.hpp"

namespace bunchtrain::infer::detail {
namespace {

/// Images of a call, and what makes them of the latent vectors of a batch.
struct ShowerBatch {
  std::vector<float> latents, images;
};
using MakeShowers = std::function<void(ShowerBatch&)>;

Contender shower_contender(const char* engine, const std::shared_ptr<const FastGenerator>& generator,
                           std::int64_t batch, std::function<MakeShowers()> make_worker) {
  return {.engine = engine, .batches = 1, .make_worker = [=]() -> Worker {
            auto showers = std::make_shared<ShowerBatch>();
            std::mt19937_64 random(1);
            std::normal_distribution<float> normal;
            showers->latents.resize(static_cast<std::size_t>(batch * generator->latent_size()));
            for (float& value : showers->latents) value = normal(random);
            showers->images.resize(static_cast<std::size_t>(batch * generator->image_size()));
            return [showers, run = make_worker()](std::size_t) { run(*showers); };
          }};
}

}  // namespace

ContendersOf shower_contenders(const InferenceBenchmarkOptions& options) {
  const auto fast = std::make_shared<const FastGenerator>(FastGenerator::load(options.bundle));
  const Predictor plain = Predictor::load(options.bundle);
  std::shared_ptr<const onnx::Runtime> runtime;
  if (!options.onnxruntime.empty())
    runtime = std::make_shared<onnx::Runtime>(options.onnxruntime, make_onnx(options.bundle).bytes);
  return [fast, plain, runtime](std::int64_t batch) {
    const std::int64_t latent = fast->latent_size();
    const auto by_us = [fast]() -> MakeShowers {
      auto scratch = std::make_shared<FastGenerator::Scratch>(fast->make_scratch());
      return [fast, scratch](ShowerBatch& showers) { fast->run(showers.latents, showers.images, *scratch); };
    };
    const auto by_modules = [plain, batch, latent]() -> MakeShowers {
      return [plain, batch, latent](ShowerBatch& showers) {
        plain.run({{"latent", at::from_blob(showers.latents.data(), {batch, latent}, at::kFloat)}});
      };
    };
    std::vector<Contender> contenders = {shower_contender("fast", fast, batch, by_us),
                                         shower_contender("plain", fast, batch, by_modules)};
    if (runtime)
      contenders.push_back(
          shower_contender("onnxruntime", fast, batch, [runtime, batch, latent]() -> MakeShowers {
            return [runtime, batch, latent](ShowerBatch& showers) {
              const onnx::RuntimeInput inputs[] = {
                  {"latent", onnx::Type::float32, showers.latents.data(), {batch, latent}}};
              const onnx::RuntimeOutput outputs[] = {{"image", showers.images}};
              runtime->run(inputs, outputs);
            };
          }));
    return contenders;
  };
}

}  // namespace bunchtrain::infer::detail
