// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels over rows, run on the host, against float64.
#include <gtest/gtest.h>

#include <algorithm>

#include "rows/cuda/row_launch.hpp"
#include "storage_values.hpp"

namespace bunchtrain::test {
namespace {

using namespace ops::detail;

enum class Mask { none, some, all, no_row };
constexpr Mask kMasks[] = {Mask::none, Mask::some, Mask::all, Mask::no_row};

/// Rows with everything that the kernels want, and what float64 makes of them.
template <class S>
class RowProblem {
 public:
  RowProblem(RowShape shape, Mask mask, bool relu = true, bool aligned = true)
      : shape_(shape),
        relu_(relu),
        aligned_(aligned),
        masked_(mask != Mask::none),
        mask_(static_cast<std::size_t>(shape.rows)),
        x_(random_values<S>(shape.rows * shape.channels, 1, aligned)),
        dy_(random_values<S>(shape.rows * shape.channels, 2, aligned)),
        scale_(random_values<float>(shape.channels, 3, aligned)),
        shift_(random_values<float>(shape.channels, 4, aligned)),
        slope_(random_values<float>(shape.channels, 5, aligned)),
        offset_(random_values<float>(shape.channels, 6, aligned)) {
    for (std::int64_t row = 0; row < shape.rows; ++row)
      mask_[static_cast<std::size_t>(row)] = mask == Mask::all || (mask == Mask::some && row * 7 % 11 < 5);
  }

  /// [blocks, 2 C + 1].
  std::vector<double> partials(bool gradients) {
    host_cuda::GuardedBuffer<double> out(
        static_cast<std::size_t>(partial_sums<S>(shape_) * partial_columns(shape_.channels)));
    if (gradients) {
      launch_gradient_moments(shape_, dy_.data(), x_.data(), affine(), out.data(), nullptr);
    } else {
      launch_moments(shape_, x_.data(), mask(), out.data(), nullptr);
    }
    return out.values();
  }
  Values<S> normalised() {
    Values<S> y(x_.size(), aligned_);
    launch_normalise(shape_, x_.data(), affine(), y.data(), nullptr);
    return y;
  }
  Values<S> input_gradient() {
    Values<S> dx(x_.size(), aligned_);
    launch_normalise_backward(shape_, dy_.data(), x_.data(), affine(),
                              {slope_.data(), offset_.data(), mask()}, dx.data(), nullptr);
    return dx;
  }

  void expect_moments() {
    const bool counted_rows_only = masked_;
    expect_sums(partials(false), [&](std::int64_t row, std::int64_t c) {
      const double x = counted_rows_only && !counts(row) ? 0 : x_.at(place(row, c));
      return Pair{x, x * x};
    });
    double counted = 0;
    for (std::int64_t row = 0; row < shape_.rows; ++row) counted += counts(row);
    EXPECT_EQ(total(partials(false), 2 * shape_.channels), counted) << *this;
  }
  void expect_gradient_moments() {
    expect_sums(partials(true), [&](std::int64_t row, std::int64_t c) {
      return Pair{kept(row, c), kept(row, c) * x_.at(place(row, c))};
    });
  }
  void expect_normalised() {
    Values<S> y = normalised();
    for_all([&](std::int64_t row, std::int64_t c) {
      const double product = x_.at(place(row, c)) * scale_.at(c), exact = product + shift_.at(c);
      const double expected = relu_ ? std::max(0.0, exact) : exact;
      const double tolerance = kRounding<S> * std::abs(exact) + 0x1p-23 * std::abs(product) + 0x1p-25;
      ASSERT_NEAR(y.at(place(row, c)), expected, tolerance) << *this << ", row " << row << ", channel " << c;
    });
  }
  void expect_input_gradient() {
    Values<S> dx = input_gradient();
    for_all([&](std::int64_t row, std::int64_t c) {
      const double forward = scale_.at(c) * kept(row, c);
      const double back = counts(row) ? offset_.at(c) + slope_.at(c) * x_.at(place(row, c)) : 0;
      const double size =
          std::abs(forward) + std::abs(offset_.at(c)) + std::abs(slope_.at(c) * x_.at(place(row, c)));
      const double tolerance = kRounding<S> * std::abs(forward - back) + 0x1p-22 * size + 0x1p-25;
      ASSERT_NEAR(dx.at(place(row, c)), forward - back, tolerance)
          << *this << ", row " << row << ", channel " << c;
    });
  }
  void expect_all() {
    expect_moments();
    expect_gradient_moments();
    expect_normalised();
    expect_input_gradient();
  }
  /// Rows that do not count hold NaN.
  void poison_other_rows() {
    for_all([&](std::int64_t row, std::int64_t c) {
      if (!counts(row)) x_[place(row, c)] = stored<S>(std::numeric_limits<float>::quiet_NaN());
    });
  }
  /// All that the kernels write, as bytes.
  std::vector<unsigned char> all_bytes() {
    std::vector<unsigned char> bytes;
    const auto add = [&](const void* data, std::size_t size) {
      const auto* begin = static_cast<const unsigned char*>(data);
      bytes.insert(bytes.end(), begin, begin + size);
    };
    for (const bool gradients : {false, true}) {
      const auto sums = partials(gradients);
      add(sums.data(), sums.size() * sizeof(double));
    }
    Values<S> y = normalised(), dx = input_gradient();
    add(y.data(), static_cast<std::size_t>(y.size()) * sizeof(S));
    add(dx.data(), static_cast<std::size_t>(dx.size()) * sizeof(S));
    return bytes;
  }

  friend std::ostream& operator<<(std::ostream& out, const RowProblem& p) {
    return out << p.shape_.rows << " rows of " << p.shape_.channels << (p.relu_ ? ", ReLU" : "")
               << (p.aligned_ ? "" : ", not aligned");
  }

 private:
  struct Pair {
    double first, second;
  };

  std::int64_t place(std::int64_t row, std::int64_t c) const { return row * shape_.channels + c; }
  bool counts(std::int64_t row) const { return !masked_ || mask_[static_cast<std::size_t>(row)]; }
  const bool* mask() const { return masked_ ? mask_.data() : nullptr; }
  RowAffine affine() { return {scale_.data(), shift_.data(), relu_}; }
  double kept(std::int64_t row, std::int64_t c) {
    const auto x = static_cast<float>(x_.at(place(row, c)));
    return !relu_ || std::fma(x, scale_[c], shift_[c]) > 0 ? dy_.at(place(row, c)) : 0;
  }
  template <class Visit>
  void for_all(Visit&& visit) const {
    for (std::int64_t row = 0; row < shape_.rows; ++row)
      for (std::int64_t c = 0; c < shape_.channels; ++c) visit(row, c);
  }
  double total(const std::vector<double>& partials, std::int64_t column) const {
    double sum = 0;
    for (auto i = static_cast<std::size_t>(column); i < partials.size();
         i += static_cast<std::size_t>(partial_columns(shape_.channels)))
      sum += partials[i];
    return sum;
  }
  template <class Term>
  void expect_sums(const std::vector<double>& partials, Term&& term) const {
    for (std::int64_t c = 0; c < shape_.channels; ++c) {
      Pair sum{0, 0}, size{0, 0};
      for (std::int64_t row = 0; row < shape_.rows; ++row) {
        const Pair each = term(row, c);
        sum = {sum.first + each.first, sum.second + each.second};
        size = {size.first + std::abs(each.first), size.second + std::abs(each.second)};
      }
      ASSERT_NEAR(total(partials, c), sum.first, 1e-6 * size.first) << *this << ", channel " << c;
      ASSERT_NEAR(total(partials, shape_.channels + c), sum.second, 1e-6 * size.second)
          << *this << ", channel " << c;
    }
  }

  RowShape shape_;
  bool relu_, aligned_, masked_;
  host_cuda::GuardedBuffer<bool> mask_;
  Values<S> x_, dy_;
  Values<float> scale_, shift_, slope_, offset_;
};

template <class S>
class RowKernelsTest : public testing::Test {};
using Types = testing::Types<float, Bf16, Fp16>;
TYPED_TEST_SUITE(RowKernelsTest, Types);

TYPED_TEST(RowKernelsTest, EqualFloat64) {
  for (const std::int64_t channels : {1, 3, 7, 16, 64, 128, 256})
    for (const std::int64_t rows : {0, 1, 31, 32, 127, 128, 129, 1037})
      for (const Mask mask : kMasks) RowProblem<TypeParam>({rows, channels}, mask).expect_all();
}

TYPED_TEST(RowKernelsTest, EqualFloat64WithoutRelu) {
  for (const std::int64_t channels : {3, 64})
    RowProblem<TypeParam>({200, channels}, Mask::some, false).expect_all();
}

TYPED_TEST(RowKernelsTest, TakePointersThatAreNotAligned) {
  for (const std::int64_t channels : {7, 16, 256})
    for (const Mask mask : {Mask::none, Mask::some})
      RowProblem<TypeParam>({129, channels}, mask, true, false).expect_all();
}

TYPED_TEST(RowKernelsTest, SplitRowsThatAreWiderThanABlock) {
  for (const std::int64_t channels : {263, 2056, 2100})
    RowProblem<TypeParam>({5, channels}, Mask::some).expect_all();
}

TYPED_TEST(RowKernelsTest, HaveFewPartialSumsForAnyNumberOfRows) {
  for (const std::int64_t channels : {1, 7, 64, 1000}) {
    EXPECT_EQ(partial_sums<TypeParam>({0, channels}), 0);
    EXPECT_EQ(partial_sums<TypeParam>({1, channels}), 1);
    EXPECT_EQ(partial_sums<TypeParam>({std::int64_t{1} << 40, channels}), 1024);
  }
}

TYPED_TEST(RowKernelsTest, NeverReadRowsThatDoNotCountForMoments) {
  for (const std::int64_t channels : {7, 64}) {
    RowProblem<TypeParam> problem({150, channels}, Mask::some);
    const auto before = problem.partials(false);
    problem.poison_other_rows();
    EXPECT_EQ(problem.partials(false), before);
  }
}

TYPED_TEST(RowKernelsTest, GiveTheSameBitsInEveryOrderOfBlocksAndThreads) {
  for (const std::int64_t channels : {7, 64}) {
    RowProblem<TypeParam> problem({700, channels}, Mask::some);
    const auto expected = problem.all_bytes();
    for (const host_cuda::BlockOrder order : host_cuda::kBlockOrders) {
      for (std::uint64_t seed = 1; seed < 4; ++seed) {
        host_cuda::set_seed(seed);
        host_cuda::set_block_order(order);
        EXPECT_EQ(problem.all_bytes(), expected) << channels << " channels";
      }
    }
    host_cuda::set_block_order(host_cuda::BlockOrder::ascending);
  }
}

}  // namespace
}  // namespace bunchtrain::test
