// SPDX-License-Identifier: Apache-2.0
#include "score_file.hpp"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <limits>

#include "bunchtrain/data/detail/own_file.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "evaluated_heads.hpp"

namespace bunchtrain::jet_tagging {
namespace {

constexpr const char* kKind = "scores";

/// The columns of one input file, in its row order; rows that are not among the samples keep selected = 0.
struct FileScores {
  std::vector<std::int64_t> row;
  std::vector<std::uint8_t> selected;
  std::vector<std::int64_t> label;
  std::vector<std::vector<double>> values;  ///< scores, then observers, then estimates and targets of heads

  FileScores(std::int64_t rows, std::size_t width)
      : row(static_cast<std::size_t>(rows)),
        selected(row.size(), 0),
        label(row.size(), -1),
        values(width, std::vector<double>(row.size(), std::numeric_limits<double>::quiet_NaN())) {
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<std::int64_t>(i);
  }
};

std::vector<FileScores> sort_into_files(const EvaluatedData& data, const at::Tensor& rows) {
  const auto width = static_cast<std::size_t>(rows.size(1) - 2);
  std::vector<FileScores> files;
  for (std::size_t file = 0; file < data.files.files().size(); ++file)
    files.emplace_back(data.files.rows_in_file(file), width);
  const auto table = rows.accessor<double, 2>();
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const auto sample = static_cast<std::int64_t>(table[i][0]);
    const auto& place = data.rows.at(static_cast<std::size_t>(sample));
    FileScores& file = files[static_cast<std::size_t>(place.file)];
    const auto at = static_cast<std::size_t>(place.row);
    file.selected[at] = 1;
    file.label[at] = static_cast<std::int64_t>(table[i][1]);
    for (std::size_t column = 0; column < width; ++column)
      file.values[column][at] = table[i][static_cast<std::int64_t>(column) + 2];
  }
  return files;
}

}  // namespace

at::Tensor score_rows(const Batch& batch, const at::Tensor& scores,
                      const std::vector<std::string>& observers) {
  std::vector<at::Tensor> columns = {batch.sample_ids.to(at::kDouble).cpu().unsqueeze(1),
                                     batch["label"].to(at::kDouble).unsqueeze(1).cpu(), scores};
  for (const auto& name : observers)
    columns.push_back(batch["observer." + name].to(at::kDouble).cpu().unsqueeze(1));
  return at::cat(columns, 1);
}

std::vector<std::string> class_names(const features::Card& card) {
  std::vector<std::string> names;
  for (const auto& entry : card.classes) names.push_back(entry.name);
  return names;
}

void write_scores(const OutputFile& output, const at::Tensor& rows, const EvaluatedData& data,
                  const features::Card& card, const ScoreOrigin& origin) {
  const std::vector<FileScores> files = sort_into_files(data, rows);
  data::Hdf5Writer writer(output, kKind);
  const std::vector<std::string> classes = class_names(card);
  const auto& observers = card.observers;
  const std::vector<std::string>& heads = origin.estimates;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string name = i == 0 ? "scores" : fmt::format("scores_{}", i);
    std::vector<data::CompoundColumn> columns = {{.name = "row", .integers = files[i].row},
                                                 {.name = "selected", .flags = files[i].selected},
                                                 {.name = "label", .integers = files[i].label}};
    for (std::size_t c = 0; c < classes.size(); ++c)
      columns.push_back({.name = "score_" + classes[c], .reals = files[i].values[c], .real_bytes = 8});
    for (std::size_t o = 0; o < observers.size(); ++o)
      columns.push_back(
          {.name = observers[o], .reals = files[i].values[classes.size() + o], .real_bytes = 8});
    for (std::size_t h = 0; h < heads.size(); ++h)
      columns.push_back({.name = heads[h],
                         .reals = files[i].values[classes.size() + observers.size() + h],
                         .real_bytes = 8});
    writer.write_compound(name, columns);
    writer.write_attribute(name, "file", data.files.files()[i].string());
    writer.write_attribute(name, "classes", fmt::format("{}", fmt::join(classes, ",")));
    writer.write_attribute(name, "run", origin.run);
    writer.write_attribute(name, "split", origin.split);
    writer.write_attribute(name, "checkpoint", origin.checkpoint);
  }
  writer.commit();
}

bool is_score_file(const std::filesystem::path& path) { return data::is_own_file(path, kKind); }

}  // namespace bunchtrain::jet_tagging
