// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The curves of a classifier on one data set, as kept in a run folder's curves.json and drawn in the report.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace bunchtrain::report {

/// Background rejection 1/eB at one signal efficiency.
struct RejectionPoint {
  double signal_efficiency = 0;  ///< asked for
  double rejection = 0;
  double error = 0;             ///< binomial
  bool is_lower_limit = false;  ///< no background left: the rejection is more than this
};

/// One signal against one background.
struct RocCurve {
  std::string signal = {};
  std::string background = {};  ///< a class, or "rest"
  double auc = 0;
  std::vector<double> signal_efficiency = {};      ///< ascending
  std::vector<double> background_efficiency = {};  ///< same length
  std::vector<RejectionPoint> rejections = {};
};

/// Distribution of one score for jets of each true class, equal bins from 0 to 1.
struct ScoreHistogram {
  std::string score = {};                        ///< class whose score is shown
  std::vector<std::string> classes = {};         ///< true classes
  std::vector<std::vector<double>> counts = {};  ///< [class][bin], sums of weights
};

/// A classifier on one data set.
struct Evaluation {
  std::string data = {};  ///< "validation", or a file's name
  std::int64_t epoch = 0;
  std::int64_t step = 0;
  std::int64_t samples = 0;
  double loss = 0;
  double accuracy = 0;
  double auc = 0;
  std::vector<std::string> classes = {};
  std::vector<std::int64_t> class_counts = {};
  std::vector<RocCurve> roc_curves = {};
  std::vector<ScoreHistogram> histograms = {};
};

/// Writes curves.json atomically. NaN becomes null.
void write_evaluation(const std::filesystem::path& path, const Evaluation& evaluation);
/// Whether a file was written by `write_evaluation`.
bool is_evaluation_file(const std::filesystem::path& path);
/// @throws DataError naming the file and the fault.
Evaluation read_evaluation(const std::filesystem::path& path);

/// "329.9 ± 12.0" or "> 3001".
std::string format_rejection(const RejectionPoint& point);

}  // namespace bunchtrain::report
