// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Pipeline schedules as data: what each rank does to which microbatch, in which order.

#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/parallel/pipeline_costs.hpp"

namespace bunchtrain::parallel {

/// What a stage does to a microbatch. `backward` is both gradients in one; split, the input gradient goes on to the
/// stage before at once, and the weight gradient waits for a gap (Qi et al., 2401.10241).
enum class PipelineWork { forward, backward, input_gradient, weight_gradient };

struct PipelineAction {
  PipelineWork work = PipelineWork::forward;
  int stage = 0;
  int microbatch = 0;

  bool operator==(const PipelineAction&) const = default;
};

/// One optimizer step of a pipeline. Stages are numbered as data passes them, microbatches as they enter.
struct PipelineSchedule {
  std::string name;
  int stages = 0;
  int microbatches = 0;
  std::vector<std::vector<PipelineAction>> ranks;  ///< of each rank, in its order

  /// The rank that has a stage. @pre the schedule is valid
  int rank_of(int stage) const;
  /// Every stage does each microbatch once, forward before backward, the input gradient before that of the weights,
  /// and all of a stage's work is on one rank. Whether ranks wait for each other for ever is found by `simulate`.
  /// @throws ConfigError naming the first action that is missing, done twice or out of place.
  void validate() const;
};

/// With p ranks, m microbatches, forward F, input gradient I and weight gradient W of a rank's share (B = I + W):
enum class PipelineKind {
  gpipe,           ///< all forward, then all backward; bubble (p - 1)(F + B), m activations
  one_f_one_b,     ///< one forward, one backward; the same bubble, p activations
  interleaved,     ///< several stages per rank, v; bubble (p - 1)(F + B) / v
  zero_bubble_h1,  ///< weight gradients in the gaps of 1F1B; bubble (p - 1)(F + I - W), p activations
  zero_bubble_v,  ///< two stages per rank, r and 2p - 1 - r; no bubble for F = I = W and m >= 2p - 1, p activations
};

struct PipelineShape {
  int ranks = 1;
  int microbatches = 1;
  int stages_per_rank = 1;  ///< of `interleaved`; `zero_bubble_v` has 2, the others 1
};

/// The schedule of a kind. Where weight gradients wait for gaps, `costs` say where gaps will be (empty: all work takes
/// the same time), and a rank holds no more activations than the kind says.
/// @throws ConfigError for a shape that the kind cannot serve: no rank or microbatch, `stages_per_rank` of another
/// kind, microbatches of `interleaved` that are no multiple of the ranks; or costs of another number of stages.
PipelineSchedule make_schedule(PipelineKind kind, const PipelineShape& shape,
                               const PipelineCosts& costs = {});

/// "gpipe", "1f1b", "interleaved", "zb-h1", "zb-v".
std::string_view to_string(PipelineKind kind) noexcept;
/// @throws ConfigError with the names allowed.
PipelineKind parse_pipeline_kind(std::string_view text);

/// One line per rank, actions as STAGE WORK MICROBATCH in one word: "0F0,0F1,0B0"; works F, B, I (input gradient), W.
std::string to_text(const PipelineSchedule& schedule);
/// What `to_text` wrote, or somebody by hand; empty cells and lines that begin with # are skipped.
/// @throws ConfigError with line and cell, or as `PipelineSchedule::validate`. @param origin what messages call it
PipelineSchedule parse_schedule(std::string_view text, std::string_view origin);
/// "stage 2 backward of microbatch 3"
std::string describe(const PipelineAction& action);

}  // namespace bunchtrain::parallel
