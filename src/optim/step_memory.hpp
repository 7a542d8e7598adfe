// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the kernels of one update read and do on one device.

#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "bunchtrain/device/detail/current_stream.hpp"
#include "bunchtrain/device/step_scalars.hpp"
#include "clip_scale.hpp"
#include "flat_update.hpp"

namespace bunchtrain::optim {

class Ema;

/// An update is planned as a whole before any of it runs: a row per stretch of memory in a table per rule and type, and one
/// launch per table. One upload brings all that kernels read; a step that plans as the one before finds its tables at the same
/// addresses.
class StepMemory {
 public:
  explicit StepMemory(c10::Device device)
      : scalars_(device), gradient_scale_(scalars_.add<double>()), scale_rule_(scalars_.add<ScaleRule>()) {}

  c10::Device device() const noexcept { return scalars_.device(); }
  /// @param average that kernels move on with the values; nullptr: none
  void begin(const Ema* average) {
    average_ = average;
    for (Table& table : tables_) table.clear();
  }
  const Ema* average() const noexcept { return average_; }
  template <template <class> class Rule, class T>
  void plan(const Rule<T>& rule, const FlatRange<T>& range);
  void upload(const ScaleRule& rule) {
    for (Table& table : tables_) table.write(scalars_);
    scalars_.set(scale_rule_, rule);
    scalars_.set(gradient_scale_, rule.gradient_scale);
    scalars_.upload();
  }
  const ScaleRule* scale_rule() const { return scalars_.address(scale_rule_); }
  std::int64_t uploads() const noexcept { return scalars_.uploads(); }
  /// Stands for the launches of the planned update: sizes, and where their tables are.
  std::size_t layout() const noexcept {
    std::size_t layout = 0;
    for (const Table& table : tables_)
      for (const std::size_t part :
           {static_cast<std::size_t>(table.rows), static_cast<std::size_t>(table.blocks),
            table.in_memory.offset, table.room})
        layout = layout * 31 + part;
    return layout;
  }

  /// The planned updates, with a scale that the host knows or that is on the device.
  void run(double gradient_scale) {
    scalars_.set(gradient_scale_, gradient_scale);
    if (!device().is_cpu()) scalars_.upload();
    run(scalars_.address(gradient_scale_));
  }
  void run(const double* gradient_scale) {
    const c10::DeviceGuard guard(device());
    for (const Table& table : tables_)
      if (table.rows > 0) table.run(*this, table, gradient_scale);
  }

 private:
  /// Rows of `FlatJob<Rule, T>`, whose types `run` knows.
  struct Table {
    void (*run)(StepMemory& memory, const Table& table, const double* gradient_scale);
    std::vector<std::byte> bytes = {};
    device::StepScalar<std::byte> in_memory = {};
    std::size_t room = 0;  ///< bytes in memory
    int rows = 0;
    std::int64_t blocks = 0;

    void clear() {
      bytes.clear();
      rows = 0;
      blocks = 0;
    }
    void write(device::StepScalars& scalars) {
      if (bytes.size() > room) {
        in_memory = scalars.add_table(bytes.size());
        room = bytes.size();
      }
      if (rows > 0) scalars.set_table(in_memory, bytes);
    }
  };

  template <template <class> class Rule, class T>
  static void run_table(StepMemory& memory, const Table& table, const double* gradient_scale);

  device::StepScalars scalars_;
  device::StepScalar<double> gradient_scale_;
  device::StepScalar<ScaleRule> scale_rule_;
  const Ema* average_ = nullptr;
  std::vector<Table> tables_;
};

template <template <class> class Rule, class T>
void StepMemory::run_table(StepMemory& memory, const Table& table, const double* gradient_scale) {
  const auto* jobs = reinterpret_cast<const FlatJob<Rule, T>*>(memory.scalars_.address(table.in_memory));
  if (!memory.device().is_cpu())
    return update_on_gpu(jobs, table.rows, table.blocks, gradient_scale,
                         device::current_stream(memory.device()));
  for (int row = 0; row < table.rows; ++row) update_on_cpu(jobs[row].rule, jobs[row].range, *gradient_scale);
}

template <template <class> class Rule, class T>
void StepMemory::plan(const Rule<T>& rule, const FlatRange<T>& range) {
  using Job = FlatJob<Rule, T>;
  static_assert(std::is_trivially_copyable_v<Job> && std::is_trivially_default_constructible_v<Job>);
  const auto run = &run_table<Rule, T>;
  auto table = std::ranges::find(tables_, run, &Table::run);
  if (table == tables_.end()) table = tables_.insert(table, {.run = run});
  Job job;
  std::memset(&job, 0, sizeof(job));  // bytes between members, too: equal tables are not written again
  job.range = range;
  job.first_block = table->blocks;
  job.rule = rule;
  const auto bytes = std::as_bytes(std::span(&job, 1));
  table->bytes.insert(table->bytes.end(), bytes.begin(), bytes.end());
  table->rows += 1;
  if (!device().is_cpu()) table->blocks += update_blocks(range.count * static_cast<std::int64_t>(sizeof(T)));
}

}  // namespace bunchtrain::optim
