// SPDX-License-Identifier: Apache-2.0
#include "flat_update.hpp"

#include "bunchtrain/core/error.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

namespace {

[[noreturn]] void throw_not_built() { throw NotBuiltError("The CUDA half", "BUNCHTRAIN_CUDA=ON"); }

}  // namespace

std::int64_t update_blocks(std::int64_t /*bytes*/) { throw_not_built(); }
std::int64_t norm_blocks(std::int64_t /*bytes*/) { throw_not_built(); }

template <template <class> class Rule, class T>
void update_on_gpu(const FlatJob<Rule, T>* /*jobs*/, int /*count*/, std::int64_t /*blocks*/,
                   const double* /*gradient_scale*/, void* /*stream*/) {
  throw_not_built();
}

template <class T>
void add_squares_on_gpu(const T* /*values*/, std::int64_t /*count*/, const NormMemory& /*memory*/,
                        std::int64_t /*first_block*/, const NormUse& /*use*/, void* /*stream*/) {
  throw_not_built();
}

void find_scale_on_gpu(const ScaleRule* /*rule*/, const double* /*norms*/, int /*count*/,
                       LossScale* /*loss_scale*/, ClipScale* /*found*/, void* /*stream*/) {
  throw_not_built();
}

#define INSTANTIATE(Rule)                                                                            \
  template void update_on_gpu(const FlatJob<Rule, float>*, int, std::int64_t, const double*, void*); \
  template void update_on_gpu(const FlatJob<Rule, double>*, int, std::int64_t, const double*, void*);
BUNCHTRAIN_UPDATE_RULES(INSTANTIATE)
#undef INSTANTIATE
template void add_squares_on_gpu(const float*, std::int64_t, const NormMemory&, std::int64_t, const NormUse&,
                                 void*);
template void add_squares_on_gpu(const double*, std::int64_t, const NormMemory&, std::int64_t, const NormUse&,
                                 void*);

}  // namespace bunchtrain::optim
