// SPDX-License-Identifier: Apache-2.0
// Direct convolutions of both 3DGANs' layers, bfloat16 and tf32, cut in several ways that this card has room for; prints
// the card's line of src/ops/conv3d/convolution_tiles.hpp.
// sources: src/ops/conv3d/direct_tiles.cpp src/ops/conv3d/cuda/direct_convolution.cu
// sources: src/ops/conv3d/cuda/direct_weight_gradient.cu
#include <optional>

#include "benchmarks/gpu/lab/lab.cuh"
#include "benchmarks/gpu/lab/shower_layers.hpp"
#include "src/ops/conv3d/cuda/direct_launch.hpp"
#include "src/ops/conv3d/direct_geometry.hpp"
#include "src/ops/storage/storage.hpp"

namespace {

using bunchtrain::Bf16;
namespace ops = bunchtrain::ops::detail;
using ops::ConvolutionPass;
using ops::ConvolutionTiles;

constexpr std::size_t kPattern = 1 << 20;

/// Numbers of device memory, as many as any layer needs.
template <class S>
S* fill(std::size_t count) {
  std::vector<S> pattern(kPattern);
  const std::vector<float> values = lab::numbers(kPattern);
  for (std::size_t i = 0; i < kPattern; ++i) ops::store(pattern[i], 0.1F * values[i]);
  S* const memory = lab::allocate<S>(count);
  for (std::size_t begin = 0; begin < count; begin += kPattern)
    lab::check_launch(cudaMemcpy(memory + begin, pattern.data(),
                                 sizeof(S) * std::min(kPattern, count - begin), cudaMemcpyHostToDevice));
  return memory;
}

/// A layer and its batch.
struct Call {
  std::string name;
  ops::DirectGeometry geometry;
  std::int64_t batch;

  /// What kernels of ours are asked for: `why_not_direct`.
  bool takes(ConvolutionPass pass) const {
    return (pass == ConvolutionPass::image_gradient ? std::min(geometry.channels, geometry.inputs)
                                                    : geometry.channels) <= 8;
  }
  std::size_t image_numbers() const { return numbers(geometry.cells, geometry.inputs); }
  std::size_t output_numbers() const { return numbers(geometry.fine, geometry.channels); }
  /// Of the products that are needed, zeros of phases left out.
  double flops() const {
    const auto& kernel = geometry.kernel;
    return 2.0 * static_cast<double>(numbers(geometry.outputs, geometry.channels * geometry.phases())) *
           static_cast<double>(kernel[0] * kernel[1] * kernel[2] * geometry.inputs);
  }

 private:
  std::size_t numbers(const bunchtrain::ops::Extent3& cells, std::int64_t channels) const {
    return static_cast<std::size_t>(batch * cells[0] * cells[1] * cells[2] * channels);
  }
};

template <std::size_t kCount>
void add_calls(std::vector<Call>& calls, const lab::ShowerLayer (&layers)[kCount], std::int64_t showers,
               const char* variant) {
  for (const lab::ShowerLayer& layer : layers)
    calls.push_back({std::string(variant) + " " + layer.name,
                     ops::geometry_of({layer.cells, layer.inputs, layer.channels, layer.kernel, layer.padding,
                                       layer.upsampling}),
                     showers});
}

std::vector<Call> make_calls() {
  std::vector<Call> calls;
  add_calls(calls, lab::kFixedAngleLayers, lab::kFixedAngleShowers, "fixed");
  add_calls(calls, lab::kVariableAngleLayers, lab::kVariableAngleShowers, "angle");
  return calls;
}

/// Memory of all calls, in numbers of S.
template <class S>
class Bench {
 public:
  explicit Bench(const std::vector<Call>& calls) : calls_(calls) {
    std::size_t images = 0, outputs = 0;
    for (const Call& call : calls) {
      images = std::max(images, call.image_numbers());
      outputs = std::max(outputs, call.output_numbers());
    }
    image_ = fill<S>(images);
    output_ = fill<S>(outputs);
    packed_ = fill<S>(kWeights);
    partials_ = lab::allocate<float>(kPartials);
    weight_gradient_ = lab::allocate<float>(kWeights);
  }

  /// Milliseconds of a pass, or nothing if it is not taken. With `print` as a line of JSON.
  std::optional<double> time(const Call& call, ConvolutionPass pass, const ConvolutionTiles& line,
                             bool print) {
    if (!call.takes(pass)) return std::nullopt;
    const ops::DirectShape shape = ops::shape_of_pass(call.geometry, call.batch, pass);
    const auto tiles = pass == ConvolutionPass::weight_gradient
                           ? ops::plan_weight_gradient(shape, sizeof(S), line)
                           : ops::plan_convolution(shape, sizeof(S), line);
    if (!tiles) return std::nullopt;
    require_room(call, pass, *tiles);
    const auto launch = [&](cudaStream_t stream) { launch_pass(call, pass, *tiles, stream); };
    if (!print) return lab::times_of(launch).median;
    static constexpr const char* kNames[] = {"output", "image gradient", "weight gradient"};
    const double bytes = sizeof(S) * static_cast<double>(call.image_numbers() + call.output_numbers());
    return lab::time(
        call.name + ", " + kNames[static_cast<int>(pass)] + (sizeof(S) == 2 ? ", bfloat16" : ", tf32"), bytes,
        call.flops(), launch);
  }
  double all(std::initializer_list<ConvolutionPass> passes, const ConvolutionTiles& line,
             bool print = false) {
    double sum = 0;
    for (const Call& call : calls_)
      for (const ConvolutionPass pass : passes) sum += time(call, pass, line, print).value_or(0);
    return sum;
  }

 private:
  // Of the largest layer, rounded up: weights of phases, and slots of their gradient.
  static constexpr std::int64_t kWeights = std::int64_t{1} << 24, kPartials = std::int64_t{1} << 26;

  static ops::PhasedImage<const S> seen(const S* data, const bunchtrain::ops::Extent3& cells,
                                        std::int64_t channels, const bunchtrain::ops::Extent3& factor) {
    return as_phased<const S>(data, cells, channels, factor);
  }
  template <class T>
  static ops::PhasedImage<T> as_phased(T* data, const bunchtrain::ops::Extent3& cells, std::int64_t channels,
                                       const bunchtrain::ops::Extent3& factor) {
    const auto small = [](std::int64_t number) { return static_cast<int>(number); };
    return {data,
            {small(cells[0]), small(cells[1]), small(cells[2])},
            {small(factor[0]), small(factor[1]), small(factor[2])},
            small(channels)};
  }

  static void require_room(const Call& call, ConvolutionPass pass, const ops::DirectTiles& tiles) {
    const std::int64_t weights = ops::packed_numbers(tiles, sizeof(S)),
                       partials = tiles.slots * ops::partial_numbers(tiles);
    if (pass == ConvolutionPass::weight_gradient ? partials <= kPartials : weights <= kWeights) return;
    std::fprintf(stderr, "lab: %s needs more memory than kWeights and kPartials say\n", call.name.c_str());
    std::exit(1);
  }

  void launch_pass(const Call& call, ConvolutionPass pass, const ops::DirectTiles& tiles,
                   cudaStream_t stream) {
    const ops::DirectGeometry& g = call.geometry;
    constexpr bunchtrain::ops::Extent3 kOnes = {1, 1, 1};
    if (pass == ConvolutionPass::weight_gradient)
      ops::launch_weight_gradient<S>(tiles, seen(image_, g.cells, g.inputs, kOnes),
                                     seen(output_, g.fine, g.channels, g.factor), partials_, weight_gradient_,
                                     stream);
    else if (pass == ConvolutionPass::output)
      ops::launch_convolution<S>(tiles, seen(image_, g.cells, g.inputs, kOnes), packed_, nullptr,
                                 as_phased<S>(output_, g.fine, g.channels, g.factor), stream);
    else
      ops::launch_convolution<S>(tiles, seen(output_, g.fine, g.channels, g.factor), packed_, nullptr,
                                 as_phased<S>(image_, g.cells, g.inputs, kOnes), stream);
  }

  const std::vector<Call>& calls_;
  S *image_, *output_, *packed_;
  float *partials_, *weight_gradient_;
};

/// Both types count alike.
struct Benches {
  Bench<Bf16> narrow;
  Bench<float> wide;

  double convolutions(const ConvolutionTiles& line) {
    const auto passes = {ConvolutionPass::output, ConvolutionPass::image_gradient};
    return narrow.all(passes, line) + wide.all(passes, line);
  }
  double gradients(const ConvolutionTiles& line) {
    const auto passes = {ConvolutionPass::weight_gradient};
    return narrow.all(passes, line) + wide.all(passes, line);
  }
  void print(const ConvolutionTiles& line) {
    const auto passes = {ConvolutionPass::output, ConvolutionPass::image_gradient,
                         ConvolutionPass::weight_gradient};
    narrow.all(passes, line, /*print=*/true);
    wide.all(passes, line, /*print=*/true);
  }
};

/// Ways to cut blocks of outputs that a card has room for: some minutes in all.
std::vector<ConvolutionTiles> candidates(int compute_capability, int block_kib) {
  std::vector<ConvolutionTiles> all;
  for (const int shared : {48, 80, 96, 112, 160, 224})
    for (const int stage : {12, 24, 48})
      for (const int along : {4, 8})
        for (const int buffers : {1, 2})
          if (shared <= block_kib)
            all.push_back({compute_capability, block_kib, shared, stage, along, buffers, 1});
  return all;
}

std::string text_of(const ConvolutionTiles& line) {
  char text[128];
  std::snprintf(text, sizeof text, "{%d, %d, %d, %d, %d, %d, %d}", line.compute_capability, line.block_kib,
                line.shared_kib, line.stage_kib, line.along, line.buffers, line.gradient_buffers);
  return text;
}

/// What the layers take together, in milliseconds.
double report(const ConvolutionTiles& line, const char* what, double sum) {
  std::printf(R"({"tiles": "%s", "passes": "%s", "sum_ms": %.4f})"
              "\n",
              text_of(line).c_str(), what, sum);
  return sum;
}

}  // namespace

int main() {
  cudaDeviceProp card{};
  lab::check_launch(cudaGetDeviceProperties(&card, 0));
  const std::vector<Call> calls = make_calls();
  Benches benches{Bench<Bf16>(calls), Bench<float>(calls)};
  ConvolutionTiles best = {};
  double least = 0;
  for (const ConvolutionTiles& line :
       candidates(10 * card.major + card.minor, static_cast<int>(card.sharedMemPerBlockOptin / 1024))) {
    const double sum = report(line, "output and image gradient", benches.convolutions(line));
    if (least > 0 && sum >= least) continue;
    least = sum;
    best = line;
  }
  const double once = report(best, "weight gradient", benches.gradients(best));
  best.gradient_buffers = 2;
  if (report(best, "weight gradient", benches.gradients(best)) >= once) best.gradient_buffers = 1;
  benches.print(best);
  std::printf("%s,  // %s\n", text_of(best).c_str(), card.name);
}
