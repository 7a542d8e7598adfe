// SPDX-License-Identifier: Apache-2.0
#include "feature_graph.hpp"

#include <numbers>
#include <optional>
#include <vector>

#include "expressions/card_expressions.hpp"
#include "graph_builder.hpp"

namespace bunchtrain::infer::onnx {
namespace {

using features::detail::Level;
using features::detail::Op;
using ExpressionNode = features::detail::Node;

/// The operator that does the same, if one does.
const char* same_operator(Op op) {
  switch (op) {
    case Op::add:
      return "Add";
    case Op::subtract:
      return "Sub";
    case Op::multiply:
      return "Mul";
    case Op::divide:
      return "Div";
    case Op::min:
      return "Min";
    case Op::max:
      return "Max";
    case Op::negate:
      return "Neg";
    case Op::log:
      return "Log";
    case Op::exp:
      return "Exp";
    case Op::sqrt:
      return "Sqrt";
    case Op::abs:
      return "Abs";
    case Op::tanh:
      return "Tanh";
    case Op::sinh:
      return "Sinh";
    case Op::cosh:
      return "Cosh";
    case Op::asinh:
      return "Asinh";
    case Op::sin:
      return "Sin";
    case Op::cos:
      return "Cos";
    default:
      return nullptr;
  }
}

/// Values of jets are [B, 1], of particles [B, P].
class FeatureGraph {
 public:
  FeatureGraph(const features::Card& card, Graph& graph)
      : card_(card), expressions_(card), graph_(graph), build_(graph) {
    build_.within("features");
  }

  NetworkInputs add_all() {
    if (card_.mask.empty()) {
      graph_.inputs.push_back({"mask", Type::boolean, {"jets", "particles"}});
      mask_ = "mask";
    } else {
      mask_ = is_true(value(expressions_.compile(card_.mask)));
    }
    zero_ = build_.add("Mul", {build_.cast(mask_, Type::float32), build_.number(0)});
    NetworkInputs made{.mask = mask_};
    for (const auto& [name, specs] : card_.inputs) {
      std::vector<std::string> columns;
      for (const features::InputSpec& spec : specs) columns.push_back(build_.unsqueeze(input(spec), 2));
      if (name == "points") made.points = build_.concatenate(columns);
      if (name == "features") made.features = build_.concatenate(columns);
    }
    return made;
  }

 private:
  /// clip((x - subtract) * multiply, min, max), then the card's `nan` for what is not finite.
  std::string input(const features::InputSpec& spec) {
    const int node = expressions_.compile(spec.expression);
    std::string x = value(node);
    if (expressions_.graph().node(node).level != Level::particle) x = build_.add("Add", {x, zero_});
    if (!spec.automatic) {
      x = build_.add("Sub", {x, build_.number(spec.subtract)});
      x = build_.add("Mul", {x, build_.number(spec.multiply)});
    }
    std::string clipped = x;
    if (spec.minimum) clipped = build_.add("Max", {clipped, build_.number(*spec.minimum)});
    if (spec.maximum) clipped = build_.add("Min", {clipped, build_.number(*spec.maximum)});
    if (!card_.nan) return clipped;
    const std::string odd = build_.add("Or", {build_.add("IsNaN", {x}), build_.add("IsInf", {clipped})});
    return build_.add("Where", {odd, build_.number(*card_.nan), clipped});
  }

  std::string is_true(const std::string& x) {
    return build_.add("Not", {build_.add("Equal", {x, build_.number(0)})});
  }
  std::string as_number(const std::string& truth) { return build_.cast(truth, Type::float32); }

  /// The value of a node, made once.
  std::string value(int id) {
    made_.resize(static_cast<std::size_t>(expressions_.graph().size()));
    if (!made_[static_cast<std::size_t>(id)]) {
      std::string made = make(expressions_.graph().node(id));
      made_[static_cast<std::size_t>(id)] = std::move(made);
    }
    return *made_[static_cast<std::size_t>(id)];
  }

  std::string make(const ExpressionNode& node) {
    if (node.op == Op::constant) return build_.number(node.value);
    if (node.op == Op::column) return column(node);
    const std::string a = value(node.a);
    if (node.op == Op::sum) return build_.sum(build_.add("Where", {mask_, a, build_.number(0)}), 1, true);
    if (features::detail::num_arguments(node.op) == 1) return make_of_one(node.op, a);
    return make_of_two(node.op, a, value(node.b));
  }

  std::string column(const ExpressionNode& node) {
    const bool of_particles = node.level == Level::particle;
    const std::string name = (of_particles ? "part." : "jet.") + node.column;
    Value input{.name = name, .type = Type::float32, .shape = {"jets"}};
    if (of_particles) input.shape.emplace_back("particles");
    graph_.inputs.push_back(std::move(input));
    return of_particles ? name : build_.unsqueeze(name, 1);
  }

  std::string make_of_one(Op op, const std::string& a) {
    constexpr double kTurn = 2 * std::numbers::pi;
    if (op == Op::logical_not) return as_number(build_.add("Equal", {a, build_.number(0)}));
    if (op == Op::sign)  // that of 0 is 1
      return build_.add("Where",
                        {build_.add("Less", {a, build_.number(0)}), build_.number(-1), build_.number(1)});
    if (op == Op::wrap) {
      const std::string turns = build_.add("Round", {build_.add("Div", {a, build_.number(kTurn)})});
      return build_.add("Sub", {a, build_.add("Mul", {turns, build_.number(kTurn)})});
    }
    return build_.add(same_operator(op), {a});
  }

  std::string make_of_two(Op op, const std::string& a, const std::string& b) {
    switch (op) {
      case Op::less:
        return as_number(build_.add("Less", {a, b}));
      case Op::less_equal:
        return as_number(build_.add("LessOrEqual", {a, b}));
      case Op::greater:
        return as_number(build_.add("Greater", {a, b}));
      case Op::greater_equal:
        return as_number(build_.add("GreaterOrEqual", {a, b}));
      case Op::equal:
        return as_number(build_.add("Equal", {a, b}));
      case Op::not_equal:
        return as_number(build_.add("Not", {build_.add("Equal", {a, b})}));
      case Op::logical_and:
        return as_number(build_.add("And", {is_true(a), is_true(b)}));
      case Op::logical_or:
        return as_number(build_.add("Or", {is_true(a), is_true(b)}));
      case Op::hypot:
        return build_.add("Sqrt",
                          {build_.add("Add", {build_.add("Mul", {a, a}), build_.add("Mul", {b, b})})});
      case Op::atan2:
        return arc_tangent(a, b);
      default:
        return build_.add(same_operator(op), {a, b});
    }
  }

  /// There is no atan2 among the operators: atan(y / x), and half a turn more or less on the left of the plane.
  std::string arc_tangent(const std::string& y, const std::string& x) {
    const std::string zero = build_.number(0), pi = build_.number(std::numbers::pi);
    const std::string is_left = build_.add("Less", {x, zero});
    const std::string is_origin = build_.add("Equal", {x, zero});
    // Steeper than any quotient where x is 0.
    const std::string safe = build_.add("Where", {is_origin, build_.number(1e-30), x});
    const std::string slope = build_.add("Atan", {build_.add("Div", {y, safe})});
    const std::string turn =
        build_.add("Where", {build_.add("Less", {y, zero}), build_.add("Neg", {pi}), pi});
    const std::string angle = build_.add("Where", {is_left, build_.add("Add", {slope, turn}), slope});
    return build_.add("Where", {build_.add("And", {is_origin, build_.add("Equal", {y, zero})}), zero, angle});
  }

  const features::Card& card_;
  features::detail::CardExpressions expressions_;
  Graph& graph_;
  GraphBuilder build_;
  std::vector<std::optional<std::string>> made_;  ///< by node
  std::string mask_, zero_;                       ///< zero_: [B, P] of zeros
};

}  // namespace

NetworkInputs add_features(const features::Card& card, Graph& graph) {
  return FeatureGraph(card, graph).add_all();
}

}  // namespace bunchtrain::infer::onnx
