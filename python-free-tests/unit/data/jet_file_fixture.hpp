// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Files of jets with a card, for tests of JetDataset.

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/stack.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "hdf5_samples.hpp"

namespace bunchtrain::data {

inline constexpr std::int64_t kSlots = 6;

/// Jets with pt = 100 + row, label row % 2, row % 6 + 1 particles (all six slots at most), event row / 4.
struct JetFile {
  std::int64_t rows = 500;
  std::int64_t chunk = 40;
  std::int64_t jet_chunk = 128;
  std::int64_t first_row = 0;
  bool labelled = true;

  at::Tensor jets() const {
    const at::Tensor row = at::arange(first_row, first_row + rows, at::kFloat);
    return at::stack({100 + row, row.remainder(5) * 0.2 - 0.4, 10 + row.remainder(7)}, 1);
  }
  at::Tensor labels() const { return at::arange(first_row, first_row + rows, at::kInt).remainder(2); }
  at::Tensor particles() const {
    const at::Tensor row = at::arange(first_row, first_row + rows, at::kFloat).unsqueeze(1);
    const at::Tensor slot = at::arange(kSlots, at::kFloat).unsqueeze(0);
    const at::Tensor real = slot.le(row.remainder(kSlots)).to(at::kFloat);
    const at::Tensor share = 1.0 / (2 + slot + row.remainder(3));
    return at::stack({0.01 * slot * real, -0.02 * slot * real, share * real, real}, 2);
  }

  void write(const std::string& path) const {
    Hdf5Writer writer(path);
    writer.create_dataset("jets", jets(), jet_chunk);
    writer.create_dataset("particles", particles(), chunk);
    writer.create_dataset("event", at::arange(first_row, first_row + rows, at::kLong).div(4, "floor"), 64);
    if (labelled) writer.create_dataset("label", labels(), 64);
    writer.commit();
  }
};

inline constexpr std::string_view kCard = R"toml(card = 1
[[read.jet]]
from = "jets"
columns = ["pt", "eta", "mass"]
unit = { pt = "GeV", mass = "GeV" }
[[read.jet]]
from = "label"
columns = ["kind"]
[[read.jet]]
from = "event"
columns = ["event"]
[[read.part]]
from = "particles"
columns = ["deta", "dphi", "ptrel", "mask"]
[particles]
mask = "part.mask > 0.5"
length = 4
[define]
part.pt = "part.ptrel * jet.pt"
[inputs]
points = ["part.deta", "part.dphi"]
features = ["log(part.pt)", ["part.deta", "auto"]]
[label]
of = "jet.kind"
classes = [["a", 0], ["b", 1]]
signal = "b"
[split]
by = "jet.event"
[output]
observers = ["jet.pt"]
)toml";

inline constexpr std::string_view kCompoundCard = R"toml(card = 1
[[read.jet]]
from = "jets"
[[read.part]]
from = "tracks"
unit = { pt = "MeV" }
[particles]
mask = "part.valid > 0"
length = 5
[inputs]
points = ["part.deta", "part.dphi"]
features = ["part.pt"]
[label]
of = "jet.flavour"
classes = [["u", 0], ["b", 5]]
signal = "b"
)toml";

class JetFileTest : public Hdf5FilesTest {
 protected:
  std::string write_card(std::string_view text = kCard) const {
    const std::string name = path("card.toml");
    std::ofstream(name) << text;
    return name;
  }
  std::string write_jets(const std::string& name, const JetFile& jets = {}) const {
    jets.write(path(name));
    return path(name);
  }
  std::string card_with(std::string_view from, std::string_view to) const {
    std::string text(kCard);
    text.replace(text.find(from), from.size(), to);
    return write_card(text);
  }
  /// The message of the DataError that opening throws.
  static std::string refusal(const JetDatasetOptions& options) {
    try {
      const JetDataset dataset(options);
    } catch (const DataError& error) {
      return error.what();
    } catch (const std::exception& other) {
      return std::string("another exception: ") + other.what();
    }
    return "no exception";
  }
};

}  // namespace bunchtrain::data
