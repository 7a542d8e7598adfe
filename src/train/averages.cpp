// SPDX-License-Identifier: Apache-2.0
#include "averages.hpp"

#include "run_state.hpp"

namespace bunchtrain::train {

Averages::Averages(std::span<const TrainedNetwork> networks, double decay)
    : networks_(networks.begin(), networks.end()), decay_(decay) {
  if (decay_ == 0) return;
  for (const auto& network : networks_) averages_.emplace_back(network.engine->arenas(), decay_);
}

void Averages::update() {
  for (auto& average : averages_) average.update();
}

void Averages::exchange() {
  for (auto& average : averages_) average.exchange();
}

Averages::Exchanged::Exchanged(Averages& averages) : averages_(averages) { averages_.exchange(); }
Averages::Exchanged::~Exchanged() { averages_.exchange(); }

checkpoint::Components Averages::state() const {
  checkpoint::Components components;
  for (std::size_t i = 0; i < averages_.size(); ++i)
    components[component_name(networks_, networks_[i], "ema")] = averages_[i].state();
  return components;
}

void Averages::restore(const checkpoint::Components& saved) {
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const auto found = saved.find(component_name(networks_, networks_[i], "ema"));
    if (found == saved.end()) {
      averages_[i] = optim::Ema(networks_[i].engine->arenas(), decay_);
      continue;
    }
    StateDict state = found->second;
    state.set("decay", decay_);
    averages_[i].load(state);
  }
}

}  // namespace bunchtrain::train
