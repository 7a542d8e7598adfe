// SPDX-License-Identifier: Apache-2.0
/// A hand-written training loop, without the Trainer; its last lines make a run that can be evaluated,
/// and a bundle that needs no run:
///   mpirun -n 2 custom_loop --data toy_jets.h5 --epochs 2 --run runs/by_hand
///   bunchtrain evaluate runs/by_hand --data other.h5
///   bunchtrain evaluate runs/by_hand/bundle --data other.h5
#include <bunchtrain/bunchtrain.hpp>
#include <bunchtrain/device/late_copy.hpp>
#include <bunchtrain/nn/step_context.hpp>
#include <bunchtrain/weights/bundle.hpp>
#include <bunchtrain/weights/module_weights.hpp>

#include <cstdio>

namespace bt = bunchtrain;

int main(int argc, char** argv) {
  return bt::run(argc, argv, [](bt::Session& session) {
    const bt::data::JetDataset jets({.files = session.option("data"), .card = session.option("card")});
    const auto [train, valid] = jets.split({.valid_fraction = 0.1, .seed = session.seed()});

    auto options =
        bt::models::ParticleNetOptions::lite(static_cast<std::int64_t>(jets.card().num_inputs("features")),
                                             static_cast<std::int64_t>(jets.card().classes.size()));
    bt::models::ParticleNet model(options);
    bt::parallel::DataParallel parallel(model, session.world());
    bt::optim::AdamW optimizer(parallel, {.learning_rate = 1e-3});
    bt::data::DataLoader loader(train, {.global_batch = session.option("batch"),
                                        .rank = session.rank(),
                                        .world_size = session.size(),
                                        .seed = session.seed(),
                                        .device = session.device()});

    const auto objective = bt::train::classification();
    const std::int64_t epochs = session.option("epochs");
    session.set_up_complete();  // --print-config ends here; options that nothing asked for are named
    std::int64_t step = 0;
    bt::device::LateCopy loss;  // of the step before: this one's would make the host wait for a GPU
    for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
      for (const auto& batch : loader) {
        const bt::nn::StepContext random(session.seed(), step++,
                                         batch.sample_ids);  // dropout by sample, not by rank
        const auto result =
            parallel.run({.batch = batch, .objective = objective, .global_samples = batch.global_size()});
        parallel.finish();
        optimizer.step({.clip_norm = 5});
        if (session.is_root() && step % 20 == 1 && step > 1)
          std::printf("step %lld  loss %.4f\n", static_cast<long long>(step - 1), loss.values()[0]);
        if (step % 20 == 0) loss = bt::device::LateCopy(result.losses.total);
      }
    }
    bt::checkpoint::Store snapshots(session.run_folder().checkpoints(), session.agreement());
    snapshots.save({.step = step,
                    .components = {{"model", {bt::weights::named_state(*model), {}, {}}}},
                    .metadata = {{"model", model->description()}, {"card", train->summary().card}}});
    if (session.is_root())
      bt::weights::write_bundle(session.run_folder().bundle(), {.weights = bt::weights::named_state(*model),
                                                                .model = model->description(),
                                                                .card = train->summary().card,
                                                                .classes = train->summary().classes});
  });
}
