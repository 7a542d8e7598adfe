// SPDX-License-Identifier: Apache-2.0
/// Trains a diffusion model of calorimeter showers in HDF5 files, or of simulated ones if no file is named:
///   mpirun -n 2 train_calo_diffusion --data EleEscan.h5 --run runs/diffusion
///   mpirun -n 4 train_calo_diffusion --data EleEscan.h5 --mesh data=2,pipeline=2 --pipeline-schedule zb-v
///   mpirun -n 4 train_calo_diffusion --data EleEscan.h5 --mesh data=2,spatial=2
#include <bunchtrain/bunchtrain.hpp>

namespace bt = bunchtrain;

int main(int argc, char** argv) {
  const bt::app::Program program{
      .summary =
          "Trains a diffusion model (3-D U-Net) of calorimeter showers, replicated, in stages or in slabs.",
      .options = bt::app::shower_diffusion_specs(),
      .defaults = bt::app::shower_diffusion_defaults(),
      .axes = {bt::comm::Axis::data, bt::comm::Axis::pipeline, bt::comm::Axis::spatial},
      .without = {"particles", "classes", "valid-weights", "on-bad", "decode"}};
  return bt::run(argc, argv, program, [](bt::Session& session) {
    const auto options = bt::app::shower_diffusion_options(session);
    auto [train, valid] = bt::shower_simulation::open_physical_showers(session, options);
    auto network = bt::shower_simulation::create_calo_diffusion(session, options, *train);
    auto engine = bt::shower_simulation::create_diffusion_engine(session, options, network);
    auto optimizer = bt::train::create_optimizer(session, *engine);
    bt::train::Trainer trainer(
        session, *engine, *optimizer, bt::shower_simulation::diffusion_objective(),
        {.samples = "showers", .metadata = bt::shower_simulation::diffusion_metadata(*train)});
    trainer.use_validation(nullptr);  // the objective on showers that were kept
    trainer.fit(train, valid);
  });
}
