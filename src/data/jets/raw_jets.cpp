// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/raw_jets.hpp"

#include <algorithm>

#include "bunchtrain/features/feature_pipeline.hpp"
#include "jet_file.hpp"

namespace bunchtrain::data {

features::RawColumns read_raw_jets(const std::filesystem::path& file, const features::Card& card,
                                   std::int64_t most) {
  const features::FeaturePipeline pipeline(card);
  const JetFile jets(file, pipeline);
  features::RawColumns raw;
  jets.read(0, std::min(jets.rows(), static_cast<std::size_t>(most)), ColumnSet::all, raw);
  return raw;
}

}  // namespace bunchtrain::data
