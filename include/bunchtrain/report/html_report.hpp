// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The report of a training run as one self-contained HTML page.

#include <string>
#include <vector>

#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/report/section.hpp"

namespace bunchtrain::report {

/// A line of the summary: "Parameters", "26,416".
struct KeyValue {
  std::string key = {};
  std::string value = {};
};

/// A number over steps with its name.
struct NamedSeries {
  std::string name = {};
  std::vector<double> values = {};
};

/// Losses and learning rate over steps, thinned to what a plot can show. All of one length.
struct StepSeries {
  std::vector<double> step = {};
  std::vector<double> loss = {};
  std::vector<double> learning_rate = {};
  std::vector<NamedSeries> losses = {};  ///< terms of several networks: "generator_energy"; NaN where unknown
  std::vector<NamedSeries> logged = {};  ///< what the program logged, by its names; NaN where it did not
};

/// What validations within epochs found, thinned likewise: "valid_loss", "valid_auc". All of one length.
struct ValidationSeries {
  std::vector<double> step = {};
  std::vector<NamedSeries> values = {};
};

/// What the page shows. Whatever is empty is left out.
struct TrainingReport {
  std::string title = {};
  std::string subtitle = {};           ///< date, machine
  std::vector<KeyValue> summary = {};  ///< model, data, ranks, precision ...
  std::vector<EpochRow> epochs = {};
  StepSeries steps = {};
  ValidationSeries validations = {};
  std::vector<Section> sections = {};  ///< results of the last validation, and whatever else a program adds
  std::string samples = "jets";        ///< what a sample is called
  std::vector<KeyValue> environment = {};  ///< versions, seeds, data fingerprints
  std::string configuration = {};          ///< text, shown as it is
  std::string card = {};                   ///< data card, shown as it is
};

/// A whole HTML document, as `Page` is.
std::string render_html(const TrainingReport& report);

}  // namespace bunchtrain::report
