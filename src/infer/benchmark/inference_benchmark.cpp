// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/inference_benchmark.hpp"

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <thread>

#include "../lite/made_up_jets.hpp"
#include "../onnx/runtime.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/infer/fast_generator.hpp"
#include "bunchtrain/infer/fast_predictor.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "inference_start.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::int64_t kJets = 256;  ///< that are scored again and again

/// Scores the batch of a number, on the thread that made it.
using Worker = std::function<void(std::size_t batch)>;

/// An engine with its batches.
struct Contender {
  std::string engine;
  std::size_t batches = 0;
  std::function<Worker()> make_worker;
};

/// Resident memory of the process; 0 where it is not told.
std::int64_t resident_bytes() noexcept {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "r"),
                                                             &std::fclose);
  long long pages = 0;
  if (!file || std::fscanf(file.get(), "%*s %lld", &pages) != 1) return 0;
  return pages * ::sysconf(_SC_PAGESIZE);
}

/// What one thread measured.
struct Record {
  std::vector<double> seconds;
  std::exception_ptr error;

  void attempt(const std::function<void()>& action) noexcept {
    if (error) return;
    try {
      action();
    } catch (...) {
      error = std::current_exception();
    }
  }
};

void call_for(double seconds, const Contender& contender, const Worker& worker, Record& record) {
  const auto begin = Clock::now();
  for (auto now = begin; Seconds(now - begin).count() < seconds;) {
    worker(record.seconds.size() % contender.batches);
    const auto after = Clock::now();
    record.seconds.push_back(Seconds(after - now).count());
    now = after;
  }
}

double quantile(const std::vector<double>& sorted, double fraction) {
  return sorted[static_cast<std::size_t>(fraction * static_cast<double>(sorted.size() - 1) + 0.5)];
}

InferenceSpeed summarise(const Contender& contender, std::span<const Record> records, std::int64_t batch) {
  InferenceSpeed speed{
      .engine = contender.engine, .threads = static_cast<int>(records.size()), .batch = batch};
  std::vector<double> all;
  for (const Record& record : records) {
    if (record.error) std::rethrow_exception(record.error);
    const double busy = std::accumulate(record.seconds.begin(), record.seconds.end(), 0.0);
    speed.samples_per_second += static_cast<double>(std::ssize(record.seconds) * batch) / busy;
    all.insert(all.end(), record.seconds.begin(), record.seconds.end());
  }
  std::ranges::sort(all);
  speed.calls = std::ssize(all);
  speed.p50 = quantile(all, 0.5);
  speed.p99 = quantile(all, 0.99);
  return speed;
}

/// The first call of a thread warms up and is not counted; memory is looked at while all threads hold theirs.
InferenceSpeed measure(const Contender& contender, int threads, std::int64_t batch, double seconds) {
  std::vector<Record> records(static_cast<std::size_t>(threads));
  const std::int64_t before = resident_bytes();
  std::int64_t after = 0;
  std::barrier start(threads);
  std::barrier finish(threads, [&after]() noexcept { after = resident_bytes(); });
  const auto work = [&](Record& record) {
    Worker worker;
    record.attempt([&] {
      worker = contender.make_worker();
      worker(0);
    });
    start.arrive_and_wait();
    record.attempt([&] { call_for(seconds, contender, worker, record); });
    finish.arrive_and_wait();
  };
  {
    std::vector<std::jthread> running;
    for (Record& record : records) running.emplace_back([&work, &record] { work(record); });
  }
  InferenceSpeed speed = summarise(contender, records, batch);
  speed.bytes_per_thread = std::max<std::int64_t>(0, after - before) / threads;
  return speed;
}

using Batches = std::vector<std::unique_ptr<detail::MadeUpJets>>;

/// All jets, `size` at a time.
std::shared_ptr<const Batches> make_batches(const std::vector<InputColumn>& inputs,
                                            const std::vector<std::int64_t>& particles, std::int64_t size) {
  auto batches = std::make_shared<Batches>();
  for (std::int64_t begin = 0; begin + size <= std::ssize(particles); begin += size)
    batches->push_back(std::make_unique<detail::MadeUpJets>(
        inputs, std::vector(particles.begin() + begin, particles.begin() + begin + size),
        static_cast<std::uint64_t>(begin)));
  return batches;
}

template <class AnyPredictor>
Contender contender_of(const char* engine, const AnyPredictor& predictor,
                       std::shared_ptr<const Batches> batches, const ScratchOptions& options = {}) {
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

/// Inputs of a network in ONNX: random numbers for as many particles as the jets have.
struct TensorBatch {
  std::int64_t count = 0, slots = 0, dims = 0, columns = 0;
  std::vector<float> points = {}, features = {};
  std::vector<char> mask = {};
};

TensorBatch make_tensors(const features::Card& card, const std::vector<std::int64_t>& particles,
                         std::int64_t slots) {
  TensorBatch batch{.count = std::ssize(particles),
                    .slots = slots,
                    .dims = static_cast<std::int64_t>(card.num_inputs("points")),
                    .columns = static_cast<std::int64_t>(card.num_inputs("features"))};
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  for (const std::int64_t real : particles)
    for (std::int64_t slot = 0; slot < slots; ++slot) {
      for (std::int64_t c = 0; c < batch.dims; ++c) batch.points.push_back(slot < real ? normal(random) : 0);
      for (std::int64_t c = 0; c < batch.columns; ++c)
        batch.features.push_back(slot < real ? normal(random) : 0);
      batch.mask.push_back(slot < real ? 1 : 0);
    }
  return batch;
}

/// @param least slots that the network needs
Contender contender_of(const std::shared_ptr<const onnx::Runtime>& runtime, const features::Card& card,
                       const Batches& jets, std::int64_t least, bool trimmed) {
  auto batches = std::make_shared<std::vector<TensorBatch>>();
  for (const auto& batch : jets) {
    const std::int64_t longest = std::ranges::max(batch->particles());
    batches->push_back(
        make_tensors(card, batch->particles(), trimmed ? std::max(longest, least) : card.length));
  }
  const std::size_t classes = card.classes.size();
  return {
      .engine = trimmed ? "onnxruntime, trimmed" : "onnxruntime, padded",
      .batches = batches->size(),
      .make_worker = [runtime, batches, classes]() -> Worker {
        auto scores =
            std::make_shared<std::vector<float>>(static_cast<std::size_t>(batches->front().count) * classes);
        return [runtime, batches, scores](std::size_t number) {
          const TensorBatch& batch = (*batches)[number];
          const onnx::RuntimeInput inputs[] = {
              {"points", onnx::Type::float32, batch.points.data(), {batch.count, batch.slots, batch.dims}},
              {"features",
               onnx::Type::float32,
               batch.features.data(),
               {batch.count, batch.slots, batch.columns}},
              {"mask", onnx::Type::boolean, batch.mask.data(), {batch.count, batch.slots}}};
          const onnx::RuntimeOutput outputs[] = {{"probabilities", *scores}};
          runtime->run(inputs, outputs);
        };
      }};
}

/// Contenders for batches of a size.
using ContendersOf = std::function<std::vector<Contender>(std::int64_t batch)>;

ContendersOf jet_contenders(const InferenceBenchmarkOptions& options, std::vector<std::string>& left_out) {
  const Predictor plain = Predictor::load(options.bundle, {.batch = kJets});
  const std::int64_t most = plain.card()->length;
  const auto particles = options.alike ? std::vector<std::int64_t>(kJets, std::min(options.particles, most))
                                       : detail::make_up_particles(kJets, options.particles, most, 1);
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
    left_out.push_back(fmt::format("{}: {}", fast ? "onnxruntime" : "fast", error.message()));
  }
  const bool ranges = fast && std::ranges::all_of(fast->inputs(), [](const InputColumn& input) {
                        return input.range.has_value();
                      });
  if (fast && !ranges)
    left_out.push_back("fast, counting: the bundle does not say the ranges of its inputs in the training");
  return [plain, particles, fast, ranges, runtime, least](std::int64_t batch) {
    const auto jets = make_batches(plain.inputs(), particles, batch);
    std::vector<Contender> contenders;
    if (fast) contenders.push_back(contender_of("fast", *fast, jets));
    if (ranges) contenders.push_back(contender_of("fast, counting", *fast, jets, {.count_outside = true}));
    contenders.push_back(contender_of("plain", plain, jets));
    if (runtime)
      for (const bool trimmed : {false, true})
        contenders.push_back(contender_of(runtime, *plain.card(), *jets, least, trimmed));
    return contenders;
  };
}

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

void require_all_positive(const char* field, const auto& values) {
  if (values.empty()) throw ConfigError(field, "", "one number or more");
  for (const auto value : values)
    if (value < 1) throw ConfigError(field, fmt::to_string(value), "numbers from 1 on");
}

}  // namespace

void InferenceBenchmarkOptions::validate() const {
  if (bundle.empty()) throw ConfigError("bundle", "", "the folder of a bundle");
  require_all_positive("threads", threads);
  require_all_positive("batches", batches);
  if (std::ranges::max(batches) > kJets)
    throw ConfigError("batches", fmt::to_string(std::ranges::max(batches)), fmt::format("{} at most", kJets));
  if (particles < 1) throw ConfigError("particles", fmt::to_string(particles), "at least 1");
  if (!(seconds > 0)) throw ConfigError("seconds", fmt::to_string(seconds), "more than 0");
}

InferenceBenchmark measure_inference(const InferenceBenchmarkOptions& options) {
  options.validate();
  InferenceBenchmark benchmark{.starts = detail::measure_starts(options.bundle, options.particles),
                               .onnx = detail::measure_export(options.bundle),
                               .speeds = {},
                               .left_out = {}};
  const auto contenders_of = FastGenerator::knows(options.bundle)
                                 ? shower_contenders(options)
                                 : jet_contenders(options, benchmark.left_out);
  for (const std::int64_t batch : options.batches)
    for (const Contender& contender : contenders_of(batch))
      for (const int threads : options.threads)
        benchmark.speeds.push_back(measure(contender, threads, batch, options.seconds));
  return benchmark;
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
