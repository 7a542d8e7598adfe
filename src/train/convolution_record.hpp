// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The ways that the convolutions of a run go on a GPU: measured in its first step, the same on all ranks, kept in the run
/// folder, so that a resumed run computes the same bits.

#include <filesystem>
#include <map>
#include <string>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "bunchtrain/ops/convolution_choices.hpp"

namespace bunchtrain::train {

class ConvolutionRecord {
 public:
  /// @param file convolutions.json of the run folder @param choices outlive the record
  ConvolutionRecord(mpi::Comm control, Logger logger, std::filesystem::path file,
                    ops::ConvolutionChoices& choices = ops::convolution_choices());
  ~ConvolutionRecord();
  ConvolutionRecord(const ConvolutionRecord&) = delete;
  ConvolutionRecord& operator=(const ConvolutionRecord&) = delete;

  /// Collective, before the first step of a process: all ranks take over what the file holds, and measure what it does not.
  /// @throws DataError on all of them if it cannot be read
  void begin();
  /// Collective, behind it: nothing is measured any more, all have the choices of the first rank, and the file is written.
  void finish();

 private:
  mpi::Comm control_;
  Logger logger_;
  std::filesystem::path file_;
  ops::ConvolutionChoices& choices_;
};

/// The text of convolutions.json, and back. @throws DataError naming `file`
std::string to_json(const std::map<std::string, ops::ConvolutionChoice>& choices);
std::map<std::string, ops::ConvolutionChoice> parse_convolutions(const std::string& text,
                                                                 const std::filesystem::path& file);

}  // namespace bunchtrain::train
