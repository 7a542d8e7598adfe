// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/c_api.h"

#include <new>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/infer/fast_predictor.hpp"

using bunchtrain::infer::FastPredictor;

// NOLINTBEGIN(readability-identifier-naming): names of C
struct bunchtrain_predictor {
  FastPredictor predictor;
};
struct bunchtrain_scratch {
  FastPredictor::Scratch scratch;
  std::vector<bunchtrain::infer::RawColumn> columns;
};
// NOLINTEND(readability-identifier-naming)

namespace {

thread_local std::string last_error;

int fail(int status, const char* what) noexcept {
  try {
    last_error = what;
  } catch (...) {
    last_error.clear();
  }
  return status;
}

/// Runs `action`; exceptions become statuses.
template <class Action>
int guard(Action&& action) noexcept {
  try {
    action();
    return BUNCHTRAIN_OK;
  } catch (const bunchtrain::ConfigError& error) {
    return fail(BUNCHTRAIN_BAD_ARGUMENT, error.what());
  } catch (const bunchtrain::DataError& error) {
    return fail(BUNCHTRAIN_BAD_DATA, error.what());
  } catch (const bunchtrain::CheckpointError& error) {
    return fail(BUNCHTRAIN_BAD_BUNDLE, error.what());
  } catch (const std::exception& error) {
    return fail(BUNCHTRAIN_FAILED, error.what());
  } catch (...) {
    return fail(BUNCHTRAIN_FAILED, "an exception of an unknown type");
  }
}

void require_given(const void* pointer, const char* name) {
  if (!pointer) throw bunchtrain::ConfigError(name, "null", "a pointer to something");
}

template <class T>
std::span<const T> span_of(const T* values, std::int64_t count) noexcept {
  return values ? std::span(values, static_cast<std::size_t>(count)) : std::span<const T>();
}

bunchtrain::infer::RawColumn column_of(const bunchtrain_column& column) {
  require_given(column.name, "column.name");
  if (column.count < 0)
    throw bunchtrain::ConfigError("column.count", std::to_string(column.count), "0 or more");
  return {.name = column.name,
          .values = span_of(column.floats, column.count),
          .doubles = span_of(column.doubles, column.count),
          .jet_stride = column.jet_stride,
          .particle_stride = column.particle_stride == 0 ? 1 : column.particle_stride,
          .unit = column.unit ? column.unit : ""};
}

/// The name at `index`, or null.
template <class Values>
const auto* at(const Values& values, std::int64_t index) noexcept {
  return index >= 0 && index < std::ssize(values) ? &values[static_cast<std::size_t>(index)] : nullptr;
}

}  // namespace

int bunchtrain_load(const char* bundle, bunchtrain_predictor** predictor) {
  if (predictor) *predictor = nullptr;
  return guard([&] {
    require_given(bundle, "bundle");
    require_given(predictor, "predictor");
    *predictor = new bunchtrain_predictor{FastPredictor::load(bundle)};
  });
}

void bunchtrain_free(bunchtrain_predictor* predictor) { delete predictor; }

int64_t bunchtrain_input_count(const bunchtrain_predictor* predictor) {
  return predictor ? std::ssize(predictor->predictor.inputs()) : 0;
}

const char* bunchtrain_input(const bunchtrain_predictor* predictor, int64_t index, const char** unit,
                             int* of_particles) {
  const auto* input = predictor ? at(predictor->predictor.inputs(), index) : nullptr;
  if (!input) return nullptr;
  if (unit) *unit = input->unit.c_str();
  if (of_particles) *of_particles = input->of_particles ? 1 : 0;
  return input->name.c_str();
}

int64_t bunchtrain_output_count(const bunchtrain_predictor* predictor) {
  return predictor ? std::ssize(predictor->predictor.outputs()) : 0;
}

const char* bunchtrain_output(const bunchtrain_predictor* predictor, int64_t index) {
  const auto* output = predictor ? at(predictor->predictor.outputs(), index) : nullptr;
  return output ? output->c_str() : nullptr;
}

int bunchtrain_make_scratch(const bunchtrain_predictor* predictor, bunchtrain_scratch** scratch) {
  if (scratch) *scratch = nullptr;
  return guard([&] {
    require_given(predictor, "predictor");
    require_given(scratch, "scratch");
    *scratch = new bunchtrain_scratch{predictor->predictor.make_scratch(), {}};
  });
}

void bunchtrain_free_scratch(bunchtrain_scratch* scratch) { delete scratch; }

int bunchtrain_score(const bunchtrain_predictor* predictor, const bunchtrain_jets* jets, double* scores,
                     bunchtrain_scratch* scratch) {
  return guard([&] {
    require_given(predictor, "predictor");
    require_given(jets, "jets");
    require_given(scratch, "scratch");
    if (jets->count < 0)
      throw bunchtrain::ConfigError("jets.count", std::to_string(jets->count), "0 or more");
    if (jets->count > 0) require_given(scores, "scores");
    if (jets->column_count > 0) require_given(jets->columns, "jets.columns");
    scratch->columns.clear();
    for (std::int64_t i = 0; i < jets->column_count; ++i)
      scratch->columns.push_back(column_of(jets->columns[i]));
    const std::size_t width = predictor->predictor.outputs().size();
    predictor->predictor.run({.count = jets->count,
                              .slots = jets->slots,
                              .row_splits = span_of(jets->row_splits, jets->count + 1),
                              .counts = span_of(jets->particles, jets->count),
                              .columns = scratch->columns},
                             std::span(scores, static_cast<std::size_t>(jets->count) * width),
                             scratch->scratch);
  });
}

const char* bunchtrain_last_error(void) { return last_error.c_str(); }
