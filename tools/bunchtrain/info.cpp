// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/thread_budget.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/shower_card.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

void print_info(const config::Options&) {
  const BuildInfo build = build_info();
  const mpi::Launch launch = mpi::detect_launch();
  const auto threads = device::make_thread_budget(device::observe_threads(1, 0));
  fmt::print("bunchtrain   {} ({}), {} {}\n", build.version, build.git_commit, build.compiler,
             build.build_type);
  fmt::print("CUDA build   {}\n", build.cuda ? "yes" : "no (tools/setup --gpu, then configure again)");
  fmt::print("processor    {}\n", device::describe(c10::Device(c10::kCPU)));
  fmt::print("threads      {} ({})\n", threads.compute, threads.reason);
  fmt::print("launched by  {}\n", launch.by_mpi ? launch.launcher : "no MPI launcher: one rank");
  fmt::print("cards        {}\n", fmt::join(features::builtin_cards(), ", "));
  fmt::print("shower cards {}\n", fmt::join(features::builtin_shower_cards(), ", "));
  fmt::print("hit cards    {}\n", fmt::join(features::builtin_hit_cards(), ", "));
  fmt::print("models       {}\n", fmt::join(models::names(), ", "));
}

}  // namespace

int info(int argc, char** argv) {
  return run_subcommand(config::Options("bunchtrain info", "Says what this build and this machine can do."),
                        argc, argv, print_info);
}

}  // namespace bunchtrain::tool
