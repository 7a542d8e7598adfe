// SPDX-License-Identifier: Apache-2.0
#include "flat_update.hpp"

#include "bunchtrain/core/error.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

template <template <class> class Rule, class T>
void update_on_gpu(const Rule<T>* /*rule*/, const FlatRange<T>& /*range*/, void* /*stream*/) {
  throw NotBuiltError("The CUDA half", "BUNCHTRAIN_CUDA=ON");
}

void find_scale_on_gpu(const ScaleRule* /*rule*/, const double* /*norms*/, int /*count*/,
                       LossScale* /*loss_scale*/, ClipScale* /*found*/, void* /*stream*/) {
  throw NotBuiltError("The CUDA half", "BUNCHTRAIN_CUDA=ON");
}

#define INSTANTIATE(Rule)                                                          \
  template void update_on_gpu(const Rule<float>*, const FlatRange<float>&, void*); \
  template void update_on_gpu(const Rule<double>*, const FlatRange<double>&, void*);
BUNCHTRAIN_UPDATE_RULES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace bunchtrain::optim
