// SPDX-License-Identifier: Apache-2.0
/// Trains 3DGAN on calorimeter showers in HDF5 files, or on simulated ones if no file is named:
///   mpirun -n 2 train_3dgan --data EleEscan.h5 --run runs/electrons
///   mpirun -n 4 train_3dgan --variant angle --mesh spatial=2,data=2 --run runs/slabs
#include <bunchtrain/bunchtrain.hpp>

namespace bt = bunchtrain;

int main(int argc, char** argv) {
  const bt::app::Program program{
      .summary = "Trains 3DGAN (EPJC 82:386) on calorimeter showers, on any number of ranks.",
      .options = bt::app::shower_gan_specs(),
      .defaults = bt::app::shower_gan_defaults(),
      .axes = {bt::comm::Axis::data, bt::comm::Axis::spatial},
      .without = {"particles", "classes", "valid-weights", "accumulate", "clip-norm", "check-finite",
                  "cuda-graph", "on-bad", "decode"}};
  return bt::run(argc, argv, program, [](bt::Session& session) {
    const auto options = bt::app::shower_gan_options(session);
    auto [train, valid] = bt::shower_simulation::open_showers(session, options);
    auto [generator, discriminator] = bt::shower_simulation::create_shower_gan(session, options);
    bt::parallel::DataParallel g(generator, session.world(), bt::train::parallel_options(session));
    bt::parallel::DataParallel d(discriminator, session.world(), bt::train::parallel_options(session));
    auto g_optimizer = bt::shower_simulation::create_shower_optimizer(session, g);
    auto d_optimizer = bt::shower_simulation::create_shower_optimizer(session, d);

    const auto step_options = bt::shower_simulation::shower_gan_step_options(session, options, *train);
    bt::shower_simulation::ShowerGanStep step({generator, &g, g_optimizer.get()},
                                              {discriminator, &d, d_optimizer.get()}, step_options);
    bt::train::Trainer trainer(
        session, {{"generator", &g, g_optimizer.get()}, {"discriminator", &d, d_optimizer.get()}}, step,
        bt::shower_simulation::make_shower_validation(session, options, generator, *valid),
        {.samples = "showers",
         .metadata = bt::shower_simulation::shower_gan_metadata(session, options, step_options),
         .halt_when = bt::shower_simulation::find_collapse});
    trainer.fit(train, valid);
  });
}
