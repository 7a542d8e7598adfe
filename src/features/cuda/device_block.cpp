// SPDX-License-Identifier: Apache-2.0
// Rows -> which particles are real (mask) -> sums over them -> values of jets, on the host in double precision -> inputs.
#include "jets/device_block.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/detail/current_stream.hpp"
#include "bunchtrain/ops/detail/column_launch.cuh"
#include "device_packet.hpp"
#include "jets/block_writer.hpp"
#include "jets/input_writer.hpp"
#include "jets/odd_values.hpp"
#include "program_launch.hpp"

namespace bunchtrain::features::detail {
namespace {

using Numbers = std::vector<std::int64_t>;

constexpr Standardisation kAsItIs{.minimum = -std::numeric_limits<float>::infinity(),
                                  .maximum = std::numeric_limits<float>::infinity()};

/// The particles of all rows, one after another.
struct Particles {
  at::Tensor entries = {};  ///< [count] int64: which of the raw columns
  at::Tensor splits = {};   ///< [rows + 1] int64
  Numbers host_splits = {};
  std::map<std::string, at::Tensor> columns = {};  ///< [count] float32, those that were asked for

  std::int64_t count() const { return host_splits.back(); }
};

/// Where the outputs of a program go.
struct Outputs {
  std::vector<Standardisation> transforms = {};
  std::vector<float*> first = {};
  Numbers strides = {};
  std::int64_t length = 0;  ///< places of each row; 0: as many as it has particles
};

Numbers clipped(const Numbers& splits, std::int64_t most) {
  Numbers shorter = {0};
  for (std::size_t i = 1; i < splits.size(); ++i)
    shorter.push_back(shorter.back() + std::min(splits[i] - splits[i - 1], most));
  return shorter;
}

class DeviceBlock {
 public:
  DeviceBlock(const Card& card, const CompiledCard& compiled, const DeviceColumns& columns, RawColumns& raw,
              std::span<const std::int64_t> rows)
      : card_(card),
        compiled_(compiled),
        columns_(columns),
        raw_(raw),
        rows_(rows),
        stream_(static_cast<cudaStream_t>(device::current_stream(columns.device))),
        not_finite_(at::zeros({1}, options(at::kInt))) {}

  bool write(FeatureBlock& block) {
    take_jet_columns();
    list_candidates();
    find_real();
    const std::vector<double> sums = sum_over_particles();
    NamedTensors tensors;
    std::vector<double> given;
    if (!evaluate_jets(sums, given, block)) return false;
    truncate(block.counts);
    write_inputs(given, tensors);
    if (not_finite_.cpu().const_data_ptr<int>()[0] != 0) return false;
    if (!card_.ragged) tensors.set("mask", mask());
    for (const auto& [name, tensor] : block.tensors) tensors.set(name, tensor);
    block.tensors = std::move(tensors);
    return true;
  }

 private:
  at::TensorOptions options(at::ScalarType type) const {
    return at::TensorOptions().dtype(type).device(columns_.device);
  }
  std::int64_t rows() const { return std::ssize(rows_); }
  const std::uint8_t* bytes_of(const DeviceColumn& column) const {
    return reinterpret_cast<const std::uint8_t*>(columns_.bytes) + column.begin;
  }

  void take_jet_columns();
  void list_candidates();
  void find_real();
  std::vector<double> sum_over_particles();
  bool evaluate_jets(const std::vector<double>& sums, std::vector<double>& given, FeatureBlock& block) const;
  void truncate(FeatureCounts& counts);
  void write_inputs(const std::vector<double>& given, NamedTensors& tensors);
  at::Tensor mask() const;
  const DeviceColumn& column(const std::string& name) const;
  const at::Tensor& values_of(const std::string& name, Particles& of);
  at::Tensor upload(const Numbers& numbers) const;
  Particles pick(at::Tensor splits, Numbers host_splits) const;
  void run(const Program& program, Particles& particles, const std::vector<double>& given,
           const Outputs& outputs);

  const Card& card_;
  const CompiledCard& compiled_;
  const DeviceColumns& columns_;
  RawColumns& raw_;
  std::span<const std::int64_t> rows_;
  cudaStream_t stream_;
  at::Tensor not_finite_;  ///< [1] int32
  at::Tensor begins_;      ///< [rows] int64: entries of the raw columns
  Particles candidates_;   ///< all entries of the rows
  at::Tensor marks_;       ///< [candidates] float32, of a card with a mask
  Particles real_;
  Particles shorter_;  ///< the leading real ones, where rows have more than the padded length
  bool truncated_ = false;
};

/// Those in datasets whose bytes are on the device for the particles' sake.
void DeviceBlock::take_jet_columns() {
  for (const DeviceColumn& column : *columns_.columns) {
    if (column.per_particle) continue;
    const at::Tensor values = at::empty({raw_.rows}, options(at::kDouble));
    ops::detail::launch_widen(column.stored, {.bytes = bytes_of(column)}, nullptr, raw_.rows,
                              values.mutable_data_ptr<double>(), stream_);
    const at::Tensor host = values.cpu();
    const auto* first = host.const_data_ptr<double>();
    raw_.jet[column.name].assign(first, first + raw_.rows);
  }
}

void DeviceBlock::list_candidates() {
  Numbers begins, splits = {0};
  for (const std::int64_t row : rows_) {
    begins.push_back(raw_.begin_of(row));
    splits.push_back(splits.back() + raw_.slots_of(row));
  }
  begins_ = upload(begins);
  candidates_.splits = upload(splits);
  candidates_.host_splits = std::move(splits);
  candidates_ = pick(candidates_.splits, candidates_.host_splits);
}

void DeviceBlock::find_real() {
  if (!compiled_.has_mask) {
    real_ = candidates_;
    return;
  }
  marks_ = at::empty({candidates_.count()}, options(at::kFloat));
  run(compiled_.mask, candidates_, {},
      {.transforms = {kAsItIs}, .first = {marks_.mutable_data_ptr<float>()}, .strides = {1}});
  const at::Tensor counts = at::empty({rows()}, options(at::kLong));
  const at::Tensor splits = at::empty({rows() + 1}, options(at::kLong));
  ops::detail::launch_count_marked({.begins = begins_.const_data_ptr<std::int64_t>(),
                                    .splits = candidates_.splits.const_data_ptr<std::int64_t>(),
                                    .marks = marks_.const_data_ptr<float>(),
                                    .rows = rows()},
                                   counts.mutable_data_ptr<std::int64_t>(), stream_);
  ops::detail::launch_row_splits(counts.const_data_ptr<std::int64_t>(), rows(),
                                 std::numeric_limits<std::int64_t>::max(),
                                 splits.mutable_data_ptr<std::int64_t>(), stream_);
  const at::Tensor host = splits.cpu();
  const auto* first = host.const_data_ptr<std::int64_t>();
  real_ = pick(splits, Numbers(first, first + rows() + 1));
}

/// [sums, rows]
std::vector<double> DeviceBlock::sum_over_particles() {
  const auto width = static_cast<std::int64_t>(compiled_.num_sums);
  if (width == 0) return {};
  const at::Tensor values = at::empty({real_.count(), width}, options(at::kFloat));
  Outputs outputs;
  for (std::int64_t i = 0; i < width; ++i) {
    outputs.transforms.push_back(kAsItIs);
    outputs.first.push_back(values.mutable_data_ptr<float>() + i);
    outputs.strides.push_back(width);
  }
  run(compiled_.sums, real_, {}, outputs);
  const at::Tensor sums = at::empty({width, rows()}, options(at::kDouble));
  ops::detail::launch_row_sums(values.const_data_ptr<float>(), width,
                               real_.splits.const_data_ptr<std::int64_t>(), rows(),
                               sums.mutable_data_ptr<double>(), stream_);
  const at::Tensor host = sums.cpu();
  const auto* first = host.const_data_ptr<double>();
  return {first, first + host.numel()};
}

/// By the host, from the same sums: the bits of the CPU. @param given [given, rows] what the inputs take
bool DeviceBlock::evaluate_jets(const std::vector<double>& sums, std::vector<double>& given,
                                FeatureBlock& block) const {
  const Program& program = compiled_.jets_of_sums;
  const auto count = static_cast<std::size_t>(rows());
  std::vector<const double*> of_sums;
  for (std::size_t i = 0; i < compiled_.num_sums; ++i) of_sums.push_back(sums.data() + i * count);
  Workspace& workspace = thread_workspace();
  const PackedRows none;
  program.run(program.bind(raw_), rows_, none, of_sums, workspace);
  std::vector<OddValue> odd;
  collect_odd(program, compiled_.jets_of_sums_need, rows_, none, workspace,
              {.largest = std::numeric_limits<float>::max()}, odd);
  if (!odd.empty()) return false;
  for (std::size_t i = 0; i < compiled_.num_given; ++i) {
    const double* values = program.jet_output(i, workspace);
    given.insert(given.end(), values, values + count);
  }
  for (std::size_t i = 0; i < compiled_.num_observers; ++i) {
    const at::Tensor observer = at::empty({rows()}, at::kDouble);
    std::copy_n(program.jet_output(compiled_.num_given + i, workspace), count,
                observer.mutable_data_ptr<double>());
    block.tensors.set("observer." + card_.observers[i], observer);
  }
  return true;
}

void DeviceBlock::truncate(FeatureCounts& counts) {
  const Numbers& splits = real_.host_splits;
  for (std::size_t row = 1; row < splits.size(); ++row) {
    const std::int64_t count = splits[row] - splits[row - 1];
    counts.without_particles += count == 0;
    counts.truncated += !card_.ragged && count > card_.length;
  }
  truncated_ = counts.truncated > 0;
  if (!truncated_) return;
  Numbers shorter = clipped(splits, card_.length);
  const at::Tensor on_device = upload(shorter);
  shorter_ = pick(on_device, std::move(shorter));
}

void DeviceBlock::write_inputs(const std::vector<double>& given, NamedTensors& tensors) {
  Particles& particles = truncated_ ? shorter_ : real_;
  Outputs outputs{.length = card_.ragged ? 0 : card_.length};
  for (const auto& [name, specs] : card_.inputs) {
    const std::int64_t width = std::ssize(specs);
    const at::Tensor tensor = card_.ragged ? at::empty({particles.count(), width}, options(at::kFloat))
                                           : at::zeros({rows(), card_.length, width}, options(at::kFloat));
    for (std::int64_t i = 0; i < width; ++i) {
      outputs.transforms.push_back(standardisation_of(specs[static_cast<std::size_t>(i)]));
      outputs.first.push_back(tensor.mutable_data_ptr<float>() + i);
      outputs.strides.push_back(width);
    }
    tensors.set(name, tensor);
  }
  run(compiled_.inputs, particles, given, outputs);
}

at::Tensor DeviceBlock::mask() const {
  const at::Tensor& splits = (truncated_ ? shorter_ : real_).splits;
  const at::Tensor counts = splits.narrow(0, 1, rows()).sub(splits.narrow(0, 0, rows()));
  return at::arange(card_.length, options(at::kLong)).unsqueeze(0).lt(counts.unsqueeze(1));
}

const DeviceColumn& DeviceBlock::column(const std::string& name) const {
  const auto found = std::ranges::find_if(*columns_.columns, [&](const DeviceColumn& column) {
    return column.per_particle && column.name == name;
  });
  expects(found != columns_.columns->end(), "all columns of particles lie on the device");
  return *found;
}

const at::Tensor& DeviceBlock::values_of(const std::string& name, Particles& of) {
  at::Tensor& values = of.columns[name];
  if (values.defined()) return values;
  values = at::empty({of.count()}, options(at::kFloat));
  const DeviceColumn& from = column(name);
  ops::detail::launch_widen_entries(from.stored, bytes_of(from), of.entries.const_data_ptr<std::int64_t>(),
                                    of.count(), values.mutable_data_ptr<float>(),
                                    not_finite_.mutable_data_ptr<int>(), stream_);
  return values;
}

at::Tensor DeviceBlock::upload(const Numbers& numbers) const {
  const at::Tensor host = at::empty({std::ssize(numbers)}, at::kLong);
  std::ranges::copy(numbers, host.mutable_data_ptr<std::int64_t>());
  return host.to(columns_.device);
}

/// The entries of the rows that are marked, as many of each as there is room for.
Particles DeviceBlock::pick(at::Tensor splits, Numbers host_splits) const {
  Particles picked{.entries = at::empty({host_splits.back()}, options(at::kLong)),
                   .splits = std::move(splits),
                   .host_splits = std::move(host_splits)};
  ops::detail::launch_pick({.begins = begins_.const_data_ptr<std::int64_t>(),
                            .splits = candidates_.splits.const_data_ptr<std::int64_t>(),
                            .marks = marks_.defined() ? marks_.const_data_ptr<float>() : nullptr,
                            .rows = rows()},
                           picked.splits.const_data_ptr<std::int64_t>(),
                           picked.entries.mutable_data_ptr<std::int64_t>(), stream_);
  return picked;
}

/// @param given [values of jets, rows]
void DeviceBlock::run(const Program& program, Particles& particles, const std::vector<double>& given,
                      const Outputs& outputs) {
  const InstructionList list = program.instructions();
  std::vector<const float*> columns;
  for (const Program::Column& column : program.columns())
    columns.push_back(values_of(column.name, particles).const_data_ptr<float>());
  DevicePacket values;  // of jets: its address is in the other one
  const std::size_t jets = values.add(std::span(given));
  values.send(columns_.device);
  std::vector<const double*> jet_values;
  for (std::int64_t i = 0; i < std::ssize(given); i += rows())
    jet_values.push_back(values.at<double>(jets) + i);
  DevicePacket packet;
  const std::size_t instructions = packet.add(std::span(list.instructions));
  const std::size_t column_table = packet.add(std::span<const float* const>(columns));
  const std::size_t jet_table = packet.add(std::span<const double* const>(jet_values));
  const std::size_t registers = packet.add(std::span(list.outputs));
  const std::size_t transforms = packet.add(std::span(outputs.transforms));
  const std::size_t first = packet.add(std::span<float* const>(outputs.first));
  const std::size_t strides = packet.add(std::span(outputs.strides));
  packet.send(columns_.device);
  launch_program({.instructions = packet.at<Instruction>(instructions),
                  .num_instructions = static_cast<int>(list.instructions.size()),
                  .columns = packet.at<const float*>(column_table),
                  .jet_values = packet.at<const double*>(jet_table),
                  .row_splits = particles.splits.const_data_ptr<std::int64_t>(),
                  .rows = rows(),
                  .elements = particles.count(),
                  .outputs = packet.at<std::uint8_t>(registers),
                  .transforms = packet.at<Standardisation>(transforms),
                  .num_outputs = static_cast<int>(list.outputs.size()),
                  .out = packet.at<float*>(first),
                  .strides = packet.at<std::int64_t>(strides),
                  .length = outputs.length,
                  .not_finite = not_finite_.mutable_data_ptr<int>()},
                 stream_);
}

}  // namespace

bool write_device_block(const Card& card, const CompiledCard& compiled, const DeviceColumns& columns,
                        RawColumns& raw, std::span<const std::int64_t> rows, FeatureBlock& block) {
  return DeviceBlock(card, compiled, columns, raw, rows).write(block);
}

}  // namespace bunchtrain::features::detail
