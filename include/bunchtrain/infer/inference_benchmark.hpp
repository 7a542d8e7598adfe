// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How fast a bundle scores jets or makes showers here: by each engine, from several threads, in batches of several
/// sizes.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace bunchtrain::features {
struct RawColumns;
}

namespace bunchtrain::infer {
inline namespace v0_1 {

struct InferenceBenchmarkOptions {
  std::filesystem::path bundle = {};
  std::vector<int> threads = {1};
  std::vector<std::int64_t> batches = {1, 8, 64};
  /// Real jets, as files hold them (`data::read_raw_jets`): the first 256 are scored again and again, without their padding.
  /// Not owned. Null: jets are made up.
  const features::RawColumns* jets = nullptr;
  /// Of a made-up jet, on average: from half to one and a half of it, as far as the card goes.
  std::int64_t particles = 50;
  bool alike =
      false;  ///< all made-up jets have as many: what is left of the spread of calls is the machine's
  double seconds = 1;                      ///< of each measurement
  std::filesystem::path onnxruntime = {};  ///< libonnxruntime.so; empty: without

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Threads that work through one batch after another, each on its own.
struct InferenceSpeed {
  std::string
      engine;  ///< "fast", "fast, counting", "plain", "onnxruntime, padded", "onnxruntime, trimmed", "onnxruntime"
  int threads = 1;
  std::int64_t batch = 1;
  std::int64_t calls = 0;
  double p50 = 0, p99 = 0;            ///< seconds that a call takes
  double samples_per_second = 0;      ///< jets, or showers
  std::int64_t bytes_per_thread = 0;  ///< by which the resident memory of the process grew
};

/// From `load` to the scores of a first jet, or a first shower.
struct InferenceStart {
  std::string engine;  ///< "fast", "plain"
  double first = 0;    ///< seconds, of the first time in this process
  double median = 0;   ///< of later times
};

/// The network as an ONNX file.
struct InferenceExport {
  double seconds = 0;  ///< to make it and to prove it; 0: it cannot be exported
  std::int64_t bytes = 0;
  std::int64_t weight_bytes = 0;  ///< of the bundle's weights
};

/// The jets that were scored; none of a bundle that makes showers.
struct InferenceJets {
  std::string file = {};  ///< empty: they were made up
  std::int64_t count = 0;
  std::int64_t fewest = 0, most = 0;  ///< particles that the network sees of one
  double mean = 0;
};

struct InferenceBenchmark {
  std::vector<InferenceStart> starts;
  InferenceExport onnx;
  InferenceJets jets;
  std::vector<InferenceSpeed> speeds;
  std::vector<std::string> left_out;  ///< "fast: why"
};

/// Loads the bundle by each engine, exports it, and scores jets, real ones or such that are made up after the names of the
/// bundle's raw columns: engines of ours compute features and network ("fast, counting": and count inputs outside the
/// ranges of the training), ONNX Runtime the network alone on inputs that are ready-made, with as many slots as the card
/// says (padded) or as the batch needs (trimmed). The bundle of a 3DGAN generator makes showers of normal latent vectors.
/// Threads inside LibTorch are the caller's to set (at::set_num_threads(1)).
/// @throws CheckpointError for a bundle that cannot be used or is of neither, ConfigError, and what engines throw.
InferenceBenchmark measure_inference(const InferenceBenchmarkOptions& options);

}  // namespace v0_1
}  // namespace bunchtrain::infer
