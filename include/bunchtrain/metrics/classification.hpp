// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Accuracy, loss, AUC, background rejection, confusion, calibration and curves of a classifier, exact over
/// all ranks.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/metrics/estimate.hpp"
#include "bunchtrain/metrics/roc.hpp"

namespace bunchtrain::metrics {

struct ClassificationOptions {
  std::vector<std::string> classes = {};  ///< names, one per score
  /// Indices of the signal classes. Empty: class 1 of two, every class of more.
  std::vector<int> signals = {};
  std::vector<double> signal_efficiencies = {0.3, 0.5, 0.7};
  int max_roc_points = 400;
  int histogram_bins = 50;
  int calibration_bins = 15;

  void validate() const;
};

/// One signal class against one background class, or against all the others ("rest").
struct SignalResult {
  int signal = 0;
  int background = -1;  ///< -1: all other classes
  double auc = 0;       ///< NaN if one side has no samples
  std::vector<Rejection> rejections = {};
  std::vector<RocPoint> roc = {};
};

/// Distribution of the score of one class, [true class][bin], equal bins from 0 to 1, sums of weights.
struct ScoreDistribution {
  int score = 0;
  std::vector<std::vector<double>> counts = {};
};

/// What samples of a true class are taken for: the class of the largest score. Sums of weights.
struct ConfusionMatrix {
  std::vector<std::vector<double>> counts = {};       ///< [true class][predicted class]
  std::vector<std::vector<Estimate>> fractions = {};  ///< of the true class; NaN without samples
};

/// Samples whose score is in [low, high): if the score is a probability, as large a part of them is what the
/// score says.
struct CalibrationBin {
  double low = 0, high = 0;
  double samples = 0;  ///< sum of weights
  double score = 0;    ///< mean
  Estimate fraction = {};
};

/// How well a score is the probability that it looks like (reliability diagram).
struct Calibration {
  int score = -1;                         ///< a class; -1: the largest score, whose class should be right
  std::vector<CalibrationBin> bins = {};  ///< equal bins from 0 to 1; those without samples are left out
  /// Expected calibration error (Guo et al., arXiv:1706.04599): mean over samples of |fraction - score| of
  /// their bins. Few samples make it larger than it is; the error is that of the fractions.
  Estimate expected_error = {};
};

/// Everything a table, metrics.jsonl and the report need.
struct ClassificationResult {
  std::vector<std::string> classes = {};
  std::int64_t samples = 0;     ///< labelled ones
  std::int64_t unlabelled = 0;  ///< label -1, left out of everything below
  double loss = 0;              ///< weighted mean cross-entropy; of a validation, the step's own loss
  double accuracy = 0;          ///< weighted
  double auc = 0;               ///< two classes: of the signal; more: mean over the signals against the rest
  std::vector<std::int64_t> class_counts = {};
  /// Per signal: against the rest first; with more than two classes, then against each.
  std::vector<SignalResult> signals = {};
  std::vector<ScoreDistribution> distributions = {};
  ConfusionMatrix confusion = {};
  std::vector<Calibration> calibrations = {};  ///< of the largest score, then of each signal

  /// The first signal's rejection at an efficiency asked for. @throws ConfigError listing those computed.
  const Rejection& rejection(double signal_efficiency) const;
};

/// Scores that are NaN or infinite: the network that made them has diverged, or its inputs hold such values.
class NotFiniteScores : public DataError {
 public:
  using DataError::DataError;
};

/// Collects the scores of one pass over a data set. Not thread-safe.
///
/// Scores are kept in double, because a softmax in float32 rounds the best jets to 1 and the tightest cuts
/// lose their order.
class ClassificationMetrics {
 public:
  explicit ClassificationMetrics(ClassificationOptions options);

  /// `logits` [B, C] floating, before the softmax; `labels` [B] int64, -1 for unknown; `weights` [B] or
  /// undefined for 1. Any device. @throws DataError for a label outside the classes, NotFiniteScores;
  /// with the count.
  void add_logits(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& weights = {});
  /// The same for `scores` [B, C] that are probabilities already.
  void add_scores(const at::Tensor& scores, const at::Tensor& labels, const at::Tensor& weights = {});

  std::int64_t size() const noexcept { return size_; }
  /// Forgets everything, for the next epoch.
  void reset();

  /// Of this rank's samples alone.
  ClassificationResult compute() const;
  /// Collective: of the samples of all ranks, each counted once; every rank gets the same result.
  ClassificationResult compute(comm::Communicator& communicator) const;

 private:
  enum class Kind { logits, probabilities };
  void append(const at::Tensor& scores, const at::Tensor& labels, const at::Tensor& weights, Kind kind);
  at::Tensor all_rows() const;
  ClassificationResult evaluate_rows(const at::Tensor& rows) const;

  ClassificationOptions options_;
  std::int64_t size_ = 0;
  std::vector<at::Tensor> rows_ = {};  ///< [B, C + 3] float64: scores, loss, label, weight
};

}  // namespace bunchtrain::metrics
