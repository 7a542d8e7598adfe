// SPDX-License-Identifier: Apache-2.0
// The thirty lines of README and DESIGN: a data-parallel jet tagger.

#include <bunchtrain/bunchtrain.hpp>

namespace bt = bunchtrain;

int main(int argc, char** argv) {
  return bt::run(argc, argv, [](bt::Session& session) {  // MPI if launched with it, one rank if not
    auto jets = bt::data::JetDataset({.files = session.option("data"), .card = "toy_jets"});
    auto [train, valid] = jets.split({.valid_fraction = 0.1, .seed = 7});

    bt::models::ParticleNet model(bt::models::ParticleNetOptions::lite(7, 3));
    bt::parallel::DataParallel parallel(model, session.world());
    bt::optim::AdamW optimizer(parallel, {.learning_rate = 1e-3});

    bt::train::Trainer trainer(session, parallel, optimizer, bt::train::classification(), {.epochs = 20});
    trainer.fit(train, valid);
  });
}
