// SPDX-License-Identifier: Apache-2.0
#include "shower_part.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <utility>

#include "bunchtrain/core/hash.hpp"
#include "io/slab.hpp"
#include "part_text.hpp"

namespace bunchtrain::data {
namespace {

at::Tensor floats(at::IntArrayRef sizes) { return at::empty(sizes, at::TensorOptions().dtype(at::kFloat)); }

// One grid keeps its shape; blocks of different ones follow each other.
std::vector<std::int64_t> image_sizes(const ShowerSource& source, std::int64_t count) {
  const features::ShowerCard& card = source.pipeline().card();
  if (card.cells.size() > 1) return {count, card.num_cells()};
  const auto& shape = card.cells.front().shape;
  return {count, source.image_x(), shape[1], shape[2]};
}

}  // namespace

ShowerPart::ShowerPart(std::shared_ptr<const ShowerSource> source, RowRule rule, SplitPart part)
    : source_(std::move(source)), rule_(std::move(rule)) {
  for (const auto& range : source_->ranges()) {
    std::int64_t count = 0;
    for (std::size_t i = 0; i < range.count; ++i) count += takes(range.first_row + i);
    ranges_.push_back({.first = size_, .count = count});
    size_ += count;
  }
  describe(part.name);
  summary_.part = std::move(part);
}

void ShowerPart::describe(const std::string& name) {
  const auto& files = source_->files();
  const auto& pipeline = source_->pipeline();
  const std::string part = name.empty() ? "" : name + ": ";
  summary_.description = fmt::format("{}{} of {} showers in {}, card {}", part, size_, source_->rows(),
                                     name_files(files.front().path(), files.size()), pipeline.card().name);
  summary_.samples = size_;
  summary_.rows = source_->counts();
  summary_.card = features::to_toml(pipeline.card());
  summary_.files = source_->identities();
  std::vector<std::vector<std::string>> lines;
  for (const auto& file : files) lines.push_back(file.paths());
  summary_.rows.filled = source_->filled_rows();
  summary_.paths = collect_paths(lines);
  summary_.paths.push_back(io::describe(source_->engine(), summary_.paths));
  summary_.fingerprint = hash_hex(
      fmt::format("{} {} {} {} {}", source_->fingerprint(), summary_.card, name, size_, pipeline.physical()));
}

ReadPlan ShowerPart::plan(std::size_t index) const {
  const RowRange& range = source_->ranges().at(index);
  ReadPlan plan;
  if (ranges_[index].count > 0)
    source_->files()[range.file].plan(range.first, range.count, source_->image_cells(), plan);
  return plan;
}

SampleBlock ShowerPart::read(std::size_t index) const {
  const ReadPlan wanted = plan(index);
  return decode(index, io::thread_slab().fetch(wanted));
}

SampleBlock ShowerPart::decode(std::size_t index, PlannedBytes bytes) const {
  const RowRange& range = source_->ranges().at(index);
  const auto& pipeline = source_->pipeline();
  const SampleRange samples = ranges_.at(index);
  const at::Tensor image = memory_.empty(image_sizes(*source_, samples.count), at::kFloat);
  const at::Tensor energy = floats({samples.count}), sum = floats({samples.count});
  const at::Tensor theta = floats({samples.count}), measured = floats({samples.count});
  if (samples.count > 0) {
    const CellStretch stretch = source_->image_cells();
    const std::size_t cells_per_row = stretch.count;
    auto* next_image = image.mutable_data_ptr<float>();
    std::int64_t sample = 0;
    source_->files()[range.file].decode(
        range.first, range.count, stretch, bytes,
        [&](std::size_t first, std::size_t rows, const float* cells) {
          for (std::size_t i = 0; i < rows; ++i) {
            const std::size_t row = range.first_row + first + i;
            if (!takes(row)) continue;
            pipeline.make_image({cells + i * cells_per_row, cells_per_row}, next_image);
            next_image += cells_per_row;
            energy.mutable_data_ptr<float>()[sample] = source_->energy(row);
            sum.mutable_data_ptr<float>()[sample] = static_cast<float>(pipeline.image_sum(source_->sum(row)));
            if (source_->has_angle()) {
              theta.mutable_data_ptr<float>()[sample] = source_->theta(row);
              measured.mutable_data_ptr<float>()[sample] = source_->measured_theta(row);
            }
            ++sample;
          }
        });
  }
  bytes.require_end();
  SampleBlock block{.tensors = {}, .range = samples};
  block.tensors.set("image", image);
  block.tensors.set("energy", energy);
  block.tensors.set("sum", sum);
  if (source_->has_angle()) {
    block.tensors.set("theta", theta);
    block.tensors.set("measured_theta", measured);
  }
  return block;
}

}  // namespace bunchtrain::data
