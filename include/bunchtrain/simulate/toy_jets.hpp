// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Toy jets to try everything on: QCD-like showers against boosted two- and three-prong decays.

#include <cstdint>
#include <filesystem>
#include <functional>

#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::simulate {

/// What the `jet_label` of a toy jet means.
enum class ToyJetKind : std::int32_t { qcd = 0, two_prong = 1, three_prong = 2 };

struct ToyJetOptions {
  std::int64_t count = 20'000;  ///< jets of the file
  /// The same seed makes the same jets, however many are made and by how many threads.
  std::uint64_t seed = 1;
  std::int64_t particles = 64;  ///< particle slots per jet; the hardest particles are kept
};

/// Jets `first` ... `first + count - 1` of the sequence that `options.seed` names, in the layout of JetNet
/// with labels (N = count, P = particles; card `toy_jets`): "particle_features" [N, P, 4] float32: etarel,
/// phirel, ptrel, mask, by falling pT, zero padded; "jet_features" [N, 4] float32: pt (GeV), eta, mass (GeV),
/// number of particles; "jet_label" [N] int32: a ToyJetKind, the three equally likely; "toy_prongs" [N]
/// int32: 1, 2 or 3.
///
/// Jets have a falling pT spectrum from 500 GeV and radius 0.8. Two prongs are W-like (80.4 GeV, a colour
/// singlet), three top-like (172.5 GeV, with the W inside). Every parton radiates by an angular-ordered
/// shower with running coupling, then breaks into hadrons; soft diffuse particles and a detector's smearing
/// are added. A toy: for exercise, not for physics. Uses LibTorch's threads. @throws ConfigError for a
/// negative count or fewer than 1 particle slot.
NamedTensors make_toy_jets(const ToyJetOptions& options, std::int64_t first, std::int64_t count);

/// Writes `options.count` jets to an HDF5 file that appears when it is complete. `progress` is called with
/// the number of jets written so far. @throws DataError if the file cannot be written; ConfigError if it
/// would replace what it must not (`require_writable_output`).
void write_toy_jets(const OutputFile& output, const ToyJetOptions& options,
                    const std::function<void(std::int64_t jets)>& progress = {});
/// The same; replaces any file.
void write_toy_jets(const std::filesystem::path& path, const ToyJetOptions& options,
                    const std::function<void(std::int64_t jets)>& progress = {});

}  // namespace bunchtrain::simulate
