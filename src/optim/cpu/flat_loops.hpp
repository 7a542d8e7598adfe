// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Update rules applied to flat memory by this processor's instructions. Raw pointers: needs no LibTorch.

#include <cstdint>

#include "../flat_update.hpp"
#include "../update_rules.hpp"

namespace bunchtrain::optim {

/// Elements [begin, end) of a range.
template <template <class> class Rule, class T>
using UpdateLoop = void (*)(const Rule<T>& rule, const FlatRange<T>& range, T scale, std::int64_t begin,
                            std::int64_t end);

/// The loops of one instruction set.
template <class T>
struct FlatLoops {
#define BUNCHTRAIN_LOOP_OF(Rule) UpdateLoop<Rule, T> of_##Rule;
  BUNCHTRAIN_UPDATE_RULES(BUNCHTRAIN_LOOP_OF)
#undef BUNCHTRAIN_LOOP_OF
  double (*sum_of_squares)(const T* values, std::int64_t count);

#define BUNCHTRAIN_LOOP_OF(Rule)                                                               \
  void operator()(const Rule<T>& rule, const FlatRange<T>& range, T scale, std::int64_t begin, \
                  std::int64_t end) const {                                                    \
    of_##Rule(rule, range, scale, begin, end);                                                 \
  }
  BUNCHTRAIN_UPDATE_RULES(BUNCHTRAIN_LOOP_OF)
#undef BUNCHTRAIN_LOOP_OF
};

/// Those of the best instruction set that this processor has.
template <class T>
const FlatLoops<T>& flat_loops();

}  // namespace bunchtrain::optim
