// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Shower cards: how the datasets of a calorimeter file become images with labels (format: docs/cards.md).

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::features {

/// How the three axes of a block of cells are meant.
enum class CellAxes {
  cartesian,   ///< x, y, z
  cylindrical  ///< z, alpha, r: layer, angle, radius (CaloChallenge)
};

/// A dataset of cells: its rows, [N, ...], folded to [N, shape[0], shape[1], shape[2]].
struct CellBlock {
  std::string dataset;                ///< "ECAL"
  std::array<std::int64_t, 3> shape;  ///< cells along the axes; a block of layers of its own has z = 1

  bool operator==(const CellBlock&) const = default;
};

/// A number per shower, from the first of several places that the file has: "energy",
/// "target[1]" (see `place_of`).
struct ShowerColumn {
  std::vector<std::string> from = {};
  std::string unit = {};  ///< "GeV", "MeV", "rad", "deg"

  bool operator==(const ShowerColumn&) const = default;
};

/// A parsed shower card with all defaults filled in.
///
/// Cells are read to GeV: file value / `scale` in `unit`. Blocks follow each other along
/// z (one block: the image).
struct ShowerCard {
  std::string name;
  std::vector<CellBlock> cells;
  CellAxes axes = CellAxes::cartesian;
  std::array<double, 3> pitch = {1, 1, 1};  ///< mm between cells along the axes of the first block
  std::string unit = "GeV";
  double scale = 1;        ///< the file holds that many times the energy: 50 in LCD variable-angle files
  double threshold = 0;    ///< GeV; cells below become 0
  double minimum_sum = 0;  ///< GeV; showers with no more than that in all cells are left out
  /// Of cell sum to primary energy: where the median of a file must lie.
  std::array<double, 2> ratio = {0, 2};
  ShowerColumn energy;          ///< primary energy, required
  ShowerColumn theta;           ///< true angle to the calorimeter's face; may be missing
  ShowerColumn measured_theta;  ///< angle of the image's axis; measured (`ops::ecal_angle`) where missing
  double image_scale = 1;       ///< image cell = (GeV x image_scale)^image_power
  double image_power = 1;
  bool split_by_file = true;  ///< validation gets whole files where there are several, else showers
  double valid_fraction = 0.1;
  bool fill_missing = false;  ///< as `Card::fill_missing`

  bool has_angle() const noexcept { return !theta.from.empty() || !measured_theta.from.empty(); }
  std::int64_t num_cells() const noexcept;
  bool operator==(const ShowerCard&) const = default;
};

/// Where a number per shower lies.
struct ColumnPlace {
  std::string dataset;
  std::int64_t column = -1;  ///< of the second axis; -1: the dataset holds one number per shower
};

/// "target[1]": a dataset and, in brackets, one of its columns. @throws ConfigError
ColumnPlace place_of(std::string_view text);

/// @throws ConfigError naming the entry.
void validate(const ShowerCard& card);

/// Whether TOML text is a shower card (it has a table `[shower]`), not a card of jets.
bool is_shower_card(std::string_view toml);
/// Parses TOML text; `origin` is what messages call it. @throws ConfigError with the line and, for unknown
/// keys, the nearest known one.
ShowerCard parse_shower_card(std::string_view toml, std::string_view origin);
/// A built-in name ("lcd_fixed", "lcd_angle", "calogan", "calochallenge_2" ...) or a path to a .toml file.
/// @throws ConfigError listing the built-in names.
ShowerCard load_shower_card(std::string_view name_or_path);
/// Whether a built-in name or a path to a .toml file means a card of showers. @throws as load_shower_card.
bool names_shower_card(std::string_view name_or_path);
/// Names of the built-in shower cards.
std::vector<std::string> builtin_shower_cards();
/// TOML text of the resolved card: parses back to an equal card.
std::string to_toml(const ShowerCard& card);

}  // namespace bunchtrain::features
