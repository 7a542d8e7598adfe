// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Everything that a training program needs, in one include.

#include "bunchtrain/app/jet_tagging.hpp"
#include "bunchtrain/app/run.hpp"
#include "bunchtrain/app/shower_simulation.hpp"
#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/hit_dataset.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/schedule.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan.hpp"
#include "bunchtrain/train/early_stopping.hpp"
#include "bunchtrain/train/objectives.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain {

using app::run;
using train::Session;

}  // namespace bunchtrain
