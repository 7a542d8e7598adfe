// SPDX-License-Identifier: Apache-2.0
#include "result_bytes.hpp"

#include <cstring>
#include <type_traits>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::metrics {
namespace {

template <class T>
concept Plain = std::is_arithmetic_v<T>;

class Writer {
 public:
  template <Plain T>
  void operator()(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void operator()(const std::string& text) {
    (*this)(text.size());
    bytes_ += text;
  }
  template <class T>
  void operator()(const std::vector<T>& values) {
    (*this)(values.size());
    for (const T& value : values) (*this)(value);
  }
  template <class T>
  void operator()(const T& record) {
    visit(*this, record);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <Plain T>
  void operator()(T& value) {
    std::memcpy(&value, next(sizeof value).data(), sizeof value);
  }
  void operator()(std::string& text) { text = next(size()); }
  template <class T>
  void operator()(std::vector<T>& values) {
    values.resize(size());
    for (T& value : values) (*this)(value);
  }
  template <class T>
  void operator()(T& record) {
    visit(*this, record);
  }

 private:
  std::size_t size() {
    std::size_t count = 0;
    (*this)(count);
    return count;
  }
  std::string_view next(std::size_t count) {
    expects(count <= rest_.size(), "the bytes of a result are cut");
    const std::string_view part = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return part;
  }

  std::string_view rest_;
};

// What there is of a record, once for writing (`Record` is const) and for reading.
template <class Record, class T>
concept Of = std::is_same_v<std::remove_const_t<Record>, T>;

void visit(auto& archive, Of<RocPoint> auto& point) {
  archive(point.threshold);
  archive(point.signal_efficiency);
  archive(point.background_efficiency);
}

void visit(auto& archive, Of<Rejection> auto& rejection) {
  archive(rejection.target);
  archive(rejection.signal_efficiency);
  archive(rejection.threshold);
  archive(rejection.value);
  archive(rejection.error);
  archive(rejection.is_lower_limit);
}

void visit(auto& archive, Of<SignalResult> auto& signal) {
  archive(signal.signal);
  archive(signal.background);
  archive(signal.auc);
  archive(signal.rejections);
  archive(signal.roc);
}

void visit(auto& archive, Of<ScoreDistribution> auto& distribution) {
  archive(distribution.score);
  archive(distribution.counts);
}

void visit(auto& archive, Of<Estimate> auto& estimate) {
  archive(estimate.value);
  archive(estimate.error);
}

void visit(auto& archive, Of<ConfusionMatrix> auto& confusion) {
  archive(confusion.counts);
  archive(confusion.fractions);
}

void visit(auto& archive, Of<CalibrationBin> auto& bin) {
  archive(bin.low);
  archive(bin.high);
  archive(bin.samples);
  archive(bin.score);
  archive(bin.fraction);
}

void visit(auto& archive, Of<Calibration> auto& calibration) {
  archive(calibration.score);
  archive(calibration.bins);
  archive(calibration.expected_error);
}

void visit(auto& archive, Of<ClassificationResult> auto& result) {
  archive(result.classes);
  archive(result.samples);
  archive(result.unlabelled);
  archive(result.loss);
  archive(result.accuracy);
  archive(result.auc);
  archive(result.class_counts);
  archive(result.signals);
  archive(result.distributions);
  archive(result.confusion);
  archive(result.calibrations);
}

void visit(auto& archive, Of<RegressionSummary> auto& summary) {
  archive(summary.samples);
  archive(summary.bias);
  archive(summary.deviation);
  archive(summary.half_width_68);
  archive(summary.absolute_error);
  archive(summary.squared_error);
  archive(summary.pull_mean);
  archive(summary.pull_width);
}

void visit(auto& archive, Of<RegressionBin> auto& bin) {
  archive(bin.low);
  archive(bin.high);
  archive(bin.summary);
}

void visit(auto& archive, Of<RegressionHistogram> auto& histogram) {
  archive(histogram.edges);
  archive(histogram.counts);
  archive(histogram.below);
  archive(histogram.above);
}

void visit(auto& archive, Of<RegressionResult> auto& result) {
  archive(result.summary);
  archive(result.bins);
  archive(result.residuals);
  archive(result.pulls);
}

template <class Result>
std::string write(const Result& result) {
  Writer writer;
  writer(result);
  return writer.take();
}

template <class Result>
Result read(std::string_view bytes) {
  Result result;
  Reader reader(bytes);
  reader(result);
  return result;
}

}  // namespace

std::string to_bytes(const ClassificationResult& result) { return write(result); }
std::string to_bytes(const RegressionResult& result) { return write(result); }

template <>
ClassificationResult from_bytes(std::string_view bytes) {
  return read<ClassificationResult>(bytes);
}
template <>
RegressionResult from_bytes(std::string_view bytes) {
  return read<RegressionResult>(bytes);
}

}  // namespace bunchtrain::metrics
