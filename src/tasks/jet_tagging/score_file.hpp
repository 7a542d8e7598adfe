// SPDX-License-Identifier: Apache-2.0
#pragma once
/// scores.h5: one compound dataset per input file, in its row order.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "evaluated_data.hpp"

namespace bunchtrain::jet_tagging {

/// One row per sample: sample id, label, scores, observers; float64, which holds ids up to 2^53 exactly.
at::Tensor score_rows(const Batch& batch, const at::Tensor& scores,
                      const std::vector<std::string>& observers);

/// What a file of scores says of its origin.
struct ScoreOrigin {
  std::string run;
  std::string split;
  std::vector<std::string> estimates;  ///< `head_columns`
  std::string checkpoint;              ///< hash of the weights; of several networks with commas between
};

/// @param rows [N, 2 + classes + observers + ...] float64: sample (negative: none), label, scores, observers,
/// what `EvaluatedHeads` adds.
/// The file is put in its place only if it may still be written. @throws ConfigError, DataError
void write_scores(const OutputFile& file, const at::Tensor& rows, const EvaluatedData& data,
                  const features::Card& card, const ScoreOrigin& origin);

/// Whether a file was written by `write_scores`.
bool is_score_file(const std::filesystem::path& path);

std::vector<std::string> class_names(const features::Card& card);

}  // namespace bunchtrain::jet_tagging
