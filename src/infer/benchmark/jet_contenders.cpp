// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "../onnx/runtime.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/infer/fast_predictor.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "contenders.hpp"
#include "measured_jets.hpp"

namespace bunchtrain::infer::detail {
namespace {

template <class AnyPredictor>
Contender contender_of(const char* engine, const AnyPredictor& predictor,
                       std::shared_ptr<const JetBatches> batches, const ScratchOptions& options = {}) {
  return {
      .engine = engine, .batches = batches->size(), .make_worker = [predictor, batches, options]() -> Worker {
        auto scratch = std::make_shared<decltype(predictor.make_scratch())>(predictor.make_scratch(options));
        auto scores = std::make_shared<std::vector<double>>(batches->front()->particles().size() *
                                                            predictor.outputs().size());
        return [predictor, batches, scratch, scores](std::size_t batch) {
          predictor.run((*batches)[batch]->jets(), *scores, *scratch);
        };
      }};
}

/// @param least slots that the network needs
Contender contender_of(const std::shared_ptr<const onnx::Runtime>& runtime, const MeasuredJets& jets,
                       std::int64_t size, std::int64_t least, bool trimmed) {
  auto batches = std::make_shared<std::vector<NamedTensors>>();
  for (std::int64_t first = 0; first + size <= jets.count(); first += size)
    batches->push_back(jets.tensors({first, size}, trimmed ? std::optional(least) : std::nullopt));
  const std::size_t scores_of_batch = static_cast<std::size_t>(size) * jets.card().classes.size();
  return {.engine = trimmed ? "onnxruntime, trimmed" : "onnxruntime, padded",
          .batches = batches->size(),
          .make_worker = [runtime, batches, scores_of_batch]() -> Worker {
            auto scores = std::make_shared<std::vector<float>>(scores_of_batch);
            return [runtime, batches, scores](std::size_t number) {
              const NamedTensors& batch = (*batches)[number];
              const auto input = [&](const char* name, onnx::Type type) -> onnx::RuntimeInput {
                return {name, type, batch[name].const_data_ptr(), batch[name].sizes().vec()};
              };
              const onnx::RuntimeInput inputs[] = {input("points", onnx::Type::float32),
                                                   input("features", onnx::Type::float32),
                                                   input("mask", onnx::Type::boolean)};
              const onnx::RuntimeOutput outputs[] = {{"probabilities", *scores}};
              runtime->run(inputs, outputs);
            };
          }};
}

bool says_ranges(const FastPredictor& predictor) {
  return std::ranges::all_of(predictor.inputs(),
                             [](const InputColumn& input) { return input.range.has_value(); });
}

}  // namespace

ContendersOf jet_contenders(const InferenceBenchmarkOptions& options, InferenceBenchmark& benchmark) {
  const Predictor plain = Predictor::load(options.bundle, {.batch = kMostJets});
  const auto jets = std::make_shared<const MeasuredJets>(options, *plain.card(), plain.inputs());
  benchmark.jets = jets->summary();
  std::optional<FastPredictor> fast;
  std::shared_ptr<const onnx::Runtime> runtime;
  std::int64_t least = 0;
  try {
    fast = FastPredictor::load(options.bundle);
    if (!options.onnxruntime.empty()) {
      const OnnxModel model = make_onnx(options.bundle);
      runtime = std::make_shared<onnx::Runtime>(options.onnxruntime, model.bytes);
      least = model.least_particles;
    }
  } catch (const CheckpointError& error) {
    benchmark.left_out.push_back(fmt::format("{}: {}", fast ? "onnxruntime" : "fast", error.message()));
  }
  const bool ranges = fast && says_ranges(*fast);
  if (fast && !ranges)
    benchmark.left_out.push_back(
        "fast, counting: the bundle does not say the ranges of its inputs in the training");
  return [plain, jets, fast, ranges, runtime, least](std::int64_t size) {
    const auto batches = jets->batches(size);
    std::vector<Contender> contenders;
    if (fast) contenders.push_back(contender_of("fast", *fast, batches));
    if (ranges) contenders.push_back(contender_of("fast, counting", *fast, batches, {.count_outside = true}));
    contenders.push_back(contender_of("plain", plain, batches));
    if (runtime)
      for (const bool trimmed : {false, true})
        contenders.push_back(contender_of(runtime, *jets, size, least, trimmed));
    return contenders;
  };
}

}  // namespace bunchtrain::infer::detail
