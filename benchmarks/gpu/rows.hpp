// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The cases of every row of the comparison; benchmarks/peers/gpu has the same on PyTorch.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "measurement.hpp"

namespace gpu_bench {

/// Where and how large. `small`: sizes for a CPU, to see that everything runs.
struct Bench {
  c10::Device device{c10::kCPU};
  bool small = false;
  std::vector<std::int64_t> real = {};  ///< P1, P12: real particles, of the jets in turn; empty = all
  bunchtrain::mpi::Comm world;
};

struct Case {
  std::string row;                 ///< "P1"
  std::string what;                ///< "ParticleNet training step, 1024 jets of 128 particles"
  std::string who = "bunchtrain";  ///< whose name begins so is one of ours
  bunchtrain::device::Precision precision = bunchtrain::device::Precision::float32;
  double samples = 1;  ///< of one step
  std::string unit;    ///< what a sample is, in the plural
  std::function<Work()> prepare;
};

std::vector<Case> particle_net_cases(const Bench& bench);  ///< P1
std::vector<Case> set_knn_cases(const Bench& bench);       ///< P2
std::vector<Case> large_knn_cases(const Bench& bench);     ///< P3
std::vector<Case> update_cases(const Bench& bench);        ///< P4
std::vector<Case> shower_gan_cases(const Bench& bench);    ///< P5: whole steps
std::vector<Case> convolution_cases(const Bench& bench);   ///< P5: layer by layer
std::vector<Case> batch_norm_cases(const Bench& bench);    ///< P6
std::vector<Case> edge_cases(const Bench& bench);          ///< P7
std::vector<Case> arena_cases(const Bench& bench);         ///< P8
std::vector<Case> edge_conv_cases(const Bench& bench);     ///< P9
std::vector<Case> diffusion_cases(const Bench& bench);     ///< P10
std::vector<Case> host_time_cases(const Bench& bench);     ///< P12

/// float32, tf32 where there is a GPU, bfloat16.
std::vector<bunchtrain::device::Precision> precisions(c10::Device device);
/// Standard normal numbers that depend on shape and stream only.
at::Tensor normal(at::IntArrayRef shape, std::uint64_t stream, c10::Device device);

}  // namespace gpu_bench
