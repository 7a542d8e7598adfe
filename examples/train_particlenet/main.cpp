// SPDX-License-Identifier: Apache-2.0
/// Trains ParticleNet on jets in HDF5 files:
///   mpirun -n 2 train_particlenet --data jets.h5 --run runs/first
#include <bunchtrain/bunchtrain.hpp>

namespace bt = bunchtrain;

int main(int argc, char** argv) {
  const bt::app::Program program{
      .summary = "Trains ParticleNet (1902.08570) on jets in HDF5 files, on any number of ranks.",
      .options = bt::app::classifier_specs()};
  return bt::run(argc, argv, program, [](bt::Session& session) {
    const auto options = bt::app::classifier_options(session);
    auto [train, valid] = bt::jet_tagging::open_data(session, options);
    auto model = bt::jet_tagging::create_classifier(session, options, *train);
    bt::parallel::DataParallel parallel(model, session.world(), bt::train::parallel_options(session));
    auto optimizer = bt::train::create_optimizer(session, parallel);

    bt::train::Trainer trainer(session, parallel, *optimizer,
                               bt::jet_tagging::create_objective(options, *train),
                               {.length_buckets = options.length_buckets});
    trainer.use_validation(bt::jet_tagging::create_validation(options, *train));
    trainer.fit(train, valid);
  });
}
