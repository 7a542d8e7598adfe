// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "expressions/expression_graph.hpp"
#include "expressions/expression_parser.hpp"
#include "expressions/vector_math.hpp"

namespace bunchtrain::features::detail {
namespace {

using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> apply(Op op, std::vector<float> a, std::vector<float> b = {}) {
  const std::size_t count = a.size();
  a.resize(count + kVectorPadding);
  b.resize(count + kVectorPadding);
  std::vector<float> out(count + kVectorPadding);
  apply_vector(op, a.data(), b.data(), out.data(), count);
  out.resize(count);
  return out;
}

/// Values of every magnitude between 10^low and 10^high, of both signs unless only positive ones are wanted.
std::vector<float> magnitudes(double low, double high, bool positive, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(low, high);
  std::vector<float> values(20'003);
  for (float& value : values) {
    value = static_cast<float>(std::pow(10.0, exponent(random)));
    if (!positive && random() % 2 == 0) value = -value;
  }
  return values;
}

struct AccuracyCase {
  const char* name;
  Op op;
  double low, high;  ///< powers of ten of the arguments
  bool positive;
};

class VectorMathAccuracyTest : public testing::TestWithParam<AccuracyCase> {};

TEST_P(VectorMathAccuracyTest, AgreesWithDoublePrecision) {
  const auto& [name, op, low, high, positive] = GetParam();
  const std::vector<float> a = magnitudes(low, high, positive, 1), b = magnitudes(low, high, positive, 2);
  const std::vector<float> got = apply(op, a, b);
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double expected = apply_scalar(op, a[i], b[i]);
    // Where a result is a difference of large numbers the arguments' own rounding counts: sin, cos near
    // zeros, x - y, wrap.
    const bool absolute = op == Op::sin || op == Op::cos || op == Op::wrap;
    const double scale = absolute ? 1.0
                         : op == Op::add || op == Op::subtract
                             ? std::abs(double{a[i]}) + std::abs(double{b[i]})
                             : std::abs(expected);
    if (scale < 1e-36) continue;  // single precision itself ends here
    worst = std::max(worst, std::abs(got[i] - expected) / scale);
  }
  EXPECT_LT(worst, 1e-6) << name;
}

INSTANTIATE_TEST_SUITE_P(
    AllFunctions, VectorMathAccuracyTest,
    testing::Values(
        AccuracyCase{"add", Op::add, -6, 6, false}, AccuracyCase{"subtract", Op::subtract, -6, 6, false},
        AccuracyCase{"multiply", Op::multiply, -6, 6, false},
        AccuracyCase{"divide", Op::divide, -6, 6, false}, AccuracyCase{"less", Op::less, -1, 1, false},
        AccuracyCase{"greater_equal", Op::greater_equal, -1, 1, false},
        AccuracyCase{"log", Op::log, -30, 30, true}, AccuracyCase{"log_near_one", Op::log, -1e-3, 1e-3, true},
        AccuracyCase{"exp", Op::exp, -6, 1.9, false}, AccuracyCase{"sqrt", Op::sqrt, -30, 30, true},
        AccuracyCase{"abs", Op::abs, -6, 6, false}, AccuracyCase{"sign", Op::sign, -6, 6, false},
        AccuracyCase{"tanh", Op::tanh, -10, 3, false}, AccuracyCase{"sinh", Op::sinh, -10, 1.9, false},
        AccuracyCase{"cosh", Op::cosh, -10, 1.9, false}, AccuracyCase{"asinh", Op::asinh, -10, 30, false},
        AccuracyCase{"sin", Op::sin, -4, 3, false}, AccuracyCase{"cos", Op::cos, -4, 3, false},
        AccuracyCase{"hypot", Op::hypot, -20, 20, false}, AccuracyCase{"atan2", Op::atan2, -6, 6, false},
        AccuracyCase{"wrap", Op::wrap, -3, 1, false}, AccuracyCase{"min", Op::min, -6, 6, false},
        AccuracyCase{"max", Op::max, -6, 6, false}),
    [](const auto& info) { return info.param.name; });

TEST(VectorMathTest, SpecialValuesAreThoseOfCmath) {
  const std::vector<float> special{0.0f, -0.0f,  1.0f,  -1.0f,  kInfinity, -kInfinity,
                                   kNan, 1e-38f, 3e38f, -3e38f, 90.0f,     -120.0f};
  for (const Op op : {Op::log, Op::exp, Op::sqrt, Op::abs, Op::sign, Op::tanh, Op::sinh, Op::cosh, Op::asinh,
                      Op::negate, Op::logical_not}) {
    const std::vector<float> got = apply(op, special);
    for (std::size_t i = 0; i < special.size(); ++i) {
      const auto expected = static_cast<float>(apply_scalar(op, special[i], 0));
      if (std::isnan(expected))
        EXPECT_TRUE(std::isnan(got[i])) << int(op) << " of " << special[i] << " is " << got[i];
      else if (std::isinf(expected))
        EXPECT_EQ(got[i], expected) << int(op) << " of " << special[i];
      else
        EXPECT_NEAR(got[i], expected, 1e-6 * std::abs(expected) + 1e-38) << int(op) << " of " << special[i];
    }
  }
}

TEST(VectorMathTest, SpecialPairsAreThoseOfCmath) {
  const std::vector<float> values{0.0f, -0.0f, 1.0f, -2.0f, kInfinity, -kInfinity, kNan};
  std::vector<float> a, b;
  for (const float x : values) {
    for (const float y : values) {
      a.push_back(x);
      b.push_back(y);
    }
  }
  for (const Op op :
       {Op::hypot, Op::atan2, Op::add, Op::divide, Op::less, Op::less_equal, Op::greater, Op::greater_equal,
        Op::equal, Op::not_equal, Op::logical_and, Op::logical_or, Op::min, Op::max}) {
    const std::vector<float> got = apply(op, a, b);
    for (std::size_t i = 0; i < a.size(); ++i) {
      const auto expected = static_cast<float>(apply_scalar(op, a[i], b[i]));
      if (std::isnan(expected))
        EXPECT_TRUE(std::isnan(got[i])) << int(op) << " of " << a[i] << ", " << b[i];
      else if (std::isinf(expected))
        EXPECT_EQ(got[i], expected) << int(op) << " of " << a[i] << ", " << b[i];
      else
        EXPECT_NEAR(got[i], expected, 1e-6) << int(op) << " of " << a[i] << ", " << b[i];
    }
  }
}

TEST(VectorMathTest, AnyLength) {
  for (std::size_t count = 0; count < 70; ++count) {
    std::vector<float> a(count), b(count, 2.0f);
    for (std::size_t i = 0; i < count; ++i) a[i] = static_cast<float>(i);
    const std::vector<float> got = apply(Op::multiply, a, b);
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(got[i], 2.0f * static_cast<float>(i));
    EXPECT_EQ(sum_vector(a.data(), count), static_cast<double>(count) * (static_cast<double>(count) - 1) / 2);
  }
}

TEST(VectorMathTest, StandardisesClipsAndReportsWhatIsNotFinite) {
  std::vector<float> values{0, 1, 2, 100, -100, kInfinity};
  values.resize(6 + kVectorPadding, kNan);  // what follows the end must not count
  std::vector<float> out(values.size());
  EXPECT_TRUE(standardise_vector({1, 2, -5, 5}, values.data(), out.data(), 6));
  EXPECT_THAT(std::vector<float>(out.begin(), out.begin() + 6), testing::ElementsAre(-2, 0, 2, 5, -5, 5));
  values[2] = kNan;
  EXPECT_FALSE(standardise_vector({1, 2, -5, 5}, values.data(), out.data(), 6));
  EXPECT_TRUE(std::isnan(out[2]));
}

/// Parses with jet.a = column a and so on; values are given by name.
class ExpressionTest : public testing::Test {
 protected:
  int parse(std::string_view text) {
    return parse_expression(text, graph_, [this](std::string_view name) {
      if (name.starts_with("jet.")) return graph_.column(Level::jet, name.substr(4));
      if (name.starts_with("part.")) return graph_.column(Level::particle, name.substr(5));
      throw ConfigError("unknown name");
    });
  }

  double value(int id) {
    const Node& node = graph_.node(id);
    if (node.op == Op::constant) return node.value;
    if (node.op == Op::column) return values_.at(node.column);
    return apply_scalar(node.op, value(node.a), node.b < 0 ? 0 : value(node.b));
  }
  double evaluate(std::string_view text) { return value(parse(text)); }

  std::string error_of(std::string_view text) {
    try {
      parse(text);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }

  ExpressionGraph graph_;
  std::map<std::string, double> values_{{"a", 3}, {"b", 4}, {"c.d", -2}};
};

TEST_F(ExpressionTest, PrecedenceAndAssociativity) {
  EXPECT_EQ(evaluate("jet.a + jet.b * 2"), 11);
  EXPECT_EQ(evaluate("(jet.a + jet.b) * 2"), 14);
  EXPECT_EQ(evaluate("jet.a - jet.b - 1"), -2);
  EXPECT_EQ(evaluate("jet.a / jet.b / 2"), 0.375);
  EXPECT_EQ(evaluate("-jet.a * -jet.c.d"), -6);
  EXPECT_EQ(evaluate("jet.a > 2 & jet.b < 5 | 0"), 1);
  EXPECT_EQ(evaluate("0 & 0 | 1"), 1);
  EXPECT_EQ(evaluate("!(jet.a == 3)"), 0);
  EXPECT_EQ(evaluate("jet.a + 1 >= jet.b"), 1);
  EXPECT_EQ(evaluate("jet.a != 3 || jet.b <= 4 && 1"), 1);
  EXPECT_EQ(evaluate("1.5e1 + .5"), 15.5);
}

TEST_F(ExpressionTest, Functions) {
  EXPECT_DOUBLE_EQ(evaluate("hypot(jet.a, jet.b)"), 5);
  EXPECT_DOUBLE_EQ(evaluate("min(jet.a, max(jet.b, 9))"), 3);
  EXPECT_DOUBLE_EQ(evaluate("wrap(jet.a + jet.b)"), 7 - 2 * M_PI);
  EXPECT_EQ(evaluate("sign(jet.a - 3)"), 1);  // sign(0) = 1
  EXPECT_EQ(evaluate("sign(jet.c.d)"), -1);
  EXPECT_DOUBLE_EQ(evaluate("log(exp(jet.a)) + sqrt(jet.b) + abs(jet.c.d)"), 7);
  EXPECT_DOUBLE_EQ(evaluate("atan2(jet.a, jet.b)"), std::atan2(3.0, 4.0));
}

TEST_F(ExpressionTest, FoldsConstantsAndSharesSubexpressions) {
  const int folded = parse("2 * 3 + sqrt(16)");
  EXPECT_EQ(graph_.node(folded).op, Op::constant);
  EXPECT_EQ(graph_.node(folded).value, 10);
  const int once = parse("log(jet.a * jet.b)");
  const int nodes = graph_.size();
  EXPECT_EQ(parse("log( jet.b*jet.a )"), once);
  EXPECT_EQ(graph_.size(), nodes);
}

TEST_F(ExpressionTest, KnowsOverWhatAValueVaries) {
  EXPECT_EQ(graph_.node(parse("part.x + jet.a")).level, Level::particle);
  EXPECT_EQ(graph_.node(parse("sum(part.x) + jet.a")).level, Level::jet);
  EXPECT_THAT(error_of("sum(jet.a)"), HasSubstr("particles"));
}

TEST_F(ExpressionTest, MistakesSayWhatWasExpected) {
  EXPECT_THAT(error_of("jet.a +"), HasSubstr("expected a number, a name"));
  EXPECT_THAT(error_of("(jet.a"), HasSubstr("expected \")\""));
  EXPECT_THAT(error_of("jet.a jet.b"), HasSubstr("found \"jet.b\""));
  EXPECT_THAT(error_of("hypot(jet.a)"), HasSubstr("takes two arguments"));
  EXPECT_THAT(error_of("log(jet.a, 2)"), HasSubstr("after the argument"));
  EXPECT_THAT(error_of("sqr(jet.a)"), HasSubstr("did you mean sqrt()"));
  EXPECT_THAT(error_of(""), HasSubstr("expected"));
  EXPECT_THAT(error_of("jet.a = 3"), HasSubstr("expected"));
  EXPECT_THAT(error_of(std::string(300, '(') + "1" + std::string(300, ')')), HasSubstr("less nesting"));
  EXPECT_THAT(error_of(std::string(5000, '-') + "1"), HasSubstr("4096"));
}

}  // namespace
}  // namespace bunchtrain::features::detail
