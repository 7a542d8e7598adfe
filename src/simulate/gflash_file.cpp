// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "bunchtrain/data/shower_writer.hpp"
#include "bunchtrain/simulate/gflash.hpp"

namespace bunchtrain::simulate {

void write_gflash_showers(const std::filesystem::path& path, const GflashOptions& options,
                          const std::function<void(std::int64_t showers)>& progress) {
  write_gflash_showers(OutputFile{.path = path, .force = true}, options, progress);
}

void write_gflash_showers(const OutputFile& output, const GflashOptions& options,
                          const std::function<void(std::int64_t showers)>& progress) {
  options.validate();
  constexpr std::int64_t kShowersPerWrite = 128;
  constexpr std::int64_t kElectronId = 11, kPhotonId = 22;
  data::ShowerWriter file(output,
                          {.inclined = options.inclined,
                           .particle = options.particle == ShowerParticle::electron ? kElectronId : kPhotonId,
                           .description = "GFlash showers of bunchtrain",
                           .seed = options.seed});
  for (std::int64_t first = 0; first < options.count; first += kShowersPerWrite) {
    const std::int64_t count = std::min(kShowersPerWrite, options.count - first);
    file.append(make_gflash_showers(options, first, count));
    if (progress) progress(first + count);
  }
  file.commit();
}

}  // namespace bunchtrain::simulate
