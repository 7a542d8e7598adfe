// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The convolutions of both 3DGANs, without LibTorch: gpu_bench compares them with the networks' own.

#include <cstdint>

#include "bunchtrain/ops/extent3.hpp"

namespace lab {

struct ShowerLayer {
  const char* name;
  bunchtrain::ops::Extent3 cells;  ///< of the image that it sees
  std::int64_t inputs, channels;
  bunchtrain::ops::Extent3 kernel;
  bunchtrain::ops::Padding3 padding = {};
  bunchtrain::ops::Extent3 upsampling = {1, 1, 1};
};

constexpr bunchtrain::ops::Padding3 around(bunchtrain::ops::Extent3 cells) {
  return bunchtrain::ops::Padding3::symmetric(cells);
}
constexpr bunchtrain::ops::Padding3 same(bunchtrain::ops::Extent3 kernel) {
  return bunchtrain::ops::Padding3::same(kernel);
}

/// Of the fixed angle, in batches of 128 showers of 25x25x25.
inline constexpr ShowerLayer kFixedAngleLayers[] = {
    {"generator conv1", {7, 7, 8}, 8, 64, {6, 6, 8}, same({6, 6, 8})},
    {"generator conv2", {7, 7, 8}, 64, 6, {6, 5, 8}, around({2, 2, 0}), {2, 2, 2}},
    {"generator conv3", {13, 14, 9}, 6, 6, {3, 3, 8}, around({1, 0, 3}), {2, 2, 3}},
    {"generator conv4", {26, 26, 26}, 6, 1, {2, 2, 2}},
    {"discriminator conv1", {25, 25, 25}, 1, 32, {5, 5, 5}, same({5, 5, 5})},
    {"discriminator conv2", {25, 25, 25}, 32, 8, {5, 5, 5}, around({2, 2, 2})},
    {"discriminator conv3", {25, 25, 25}, 8, 8, {5, 5, 5}, around({2, 2, 2})},
    {"discriminator conv4", {25, 25, 25}, 8, 8, {5, 5, 5}, around({1, 1, 1})},
};
inline constexpr std::int64_t kFixedAngleShowers = 128;

/// Of the variable angle, in batches of 64 showers of 51x51x25.
inline constexpr ShowerLayer kVariableAngleLayers[] = {
    {"generator conv1", {9, 9, 8}, 8, 8, {6, 6, 8}, {}, {6, 6, 6}},
    {"generator conv2", {49, 49, 41}, 8, 6, {4, 4, 6}, around({2, 2, 1})},
    {"generator conv3", {50, 50, 38}, 6, 6, {4, 4, 6}, around({2, 2, 1})},
    {"generator conv4", {51, 51, 35}, 6, 6, {4, 4, 6}, around({2, 2, 1})},
    {"generator conv5", {52, 52, 32}, 6, 6, {3, 3, 5}, around({1, 1, 0})},
    {"generator conv6", {52, 52, 28}, 6, 6, {3, 3, 3}, around({1, 1, 0})},
    {"generator conv7", {52, 52, 26}, 6, 1, {2, 2, 2}},
    {"discriminator conv1", {51, 51, 25}, 1, 16, {5, 6, 6}, same({5, 6, 6})},
    {"discriminator conv2", {51, 51, 25}, 16, 8, {5, 6, 6}, around({0, 0, 1})},
    {"discriminator conv3", {47, 46, 22}, 8, 8, {5, 6, 6}, around({0, 0, 1})},
    {"discriminator conv4", {43, 41, 19}, 8, 8, {5, 6, 6}},
};
inline constexpr std::int64_t kVariableAngleShowers = 64;

}  // namespace lab
