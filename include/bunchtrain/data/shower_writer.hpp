// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Writes showers in the layout of the LCD files, block by block.

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "bunchtrain/data/hdf5_writer.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::data {

struct ShowerWriterOptions {
  bool inclined = false;       ///< the variable-angle layout, else the fixed-angle one
  std::int64_t particle = 11;  ///< pdg id, kept by the fixed-angle layout only
  /// What made them: an attribute of the file, and its mark (own_file.hpp).
  std::string_view description = "showers";
  std::uint64_t seed = 0;
};

/// A file that appears under its name by `commit()`; memory does not grow with it. Fixed angle (card
/// lcd_fixed): `ECAL` in GeV, `energy`, `target` (pdg id, GeV). Variable angle (card lcd_angle):
/// `ECAL` in GeV x 50, `energy`, `theta`, `mtheta`, `eta`. @throws DataError with the system's
/// reason (disk full, read-only).
class ShowerWriter {
 public:
  ShowerWriter(const std::filesystem::path& path, const ShowerWriterOptions& options);
  /// For commands: what must not be replaced is not. @throws ConfigError
  ShowerWriter(OutputFile output, const ShowerWriterOptions& options);

  /// @param showers "image" [N, X, Y, Z] GeV, "energy" [N] GeV, and if inclined "theta" and "measured_theta"
  /// [N] rad; float32 on the CPU.
  void append(const NamedTensors& showers);
  void commit();

 private:
  NamedTensors to_rows(const NamedTensors& showers) const;

  ShowerWriterOptions options_;
  Hdf5Writer file_;
  bool begun_ = false;
};

}  // namespace bunchtrain::data
