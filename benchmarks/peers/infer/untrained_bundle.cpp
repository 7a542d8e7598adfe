// SPDX-License-Identifier: Apache-2.0
// untrained_bundle MODEL FOLDER: a bundle to measure, of random weights. MODEL is particlenet, particlenet-lite (both for
// the card top_tagging), 3dgan-fixed or 3dgan-angle.

#include <fmt/format.h>
#include <torch/nn/module.h>

#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bt = bunchtrain;

namespace {

bt::weights::Bundle make_bundle(std::string_view model) {
  const bool showers = model.starts_with("3dgan-");
  const bt::features::Card card = bt::features::load_card("top_tagging");
  bt::models::ModelDescription description(std::string(showers ? "3dgan-generator" : model));
  if (showers)
    description.set("variant", model.substr(6));
  else
    description.set("num_features", static_cast<std::int64_t>(card.num_inputs("features")))
        .set("num_classes", 2);
  const auto network = bt::models::create_from(description.to_json());
  bt::weights::Bundle bundle{.weights = bt::weights::named_state(*network), .model = description.to_json()};
  if (showers) return bundle;
  bundle.card = bt::features::to_toml(card);
  for (const auto& spec : card.classes) bundle.classes.push_back(spec.name);
  return bundle;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "untrained_bundle MODEL FOLDER\n");
    return 2;
  }
  try {
    bt::weights::write_bundle(argv[2], make_bundle(argv[1]));
    return 0;
  } catch (const bt::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
