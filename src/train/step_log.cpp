// SPDX-License-Identifier: Apache-2.0
#include "step_log.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/report/run_records.hpp"
#include "plain_name.hpp"

namespace bunchtrain::train {

void StepLog::add(const std::string& name, const at::Tensor& scalar) {
  require_plain_name("log", name);
  if (report::is_own_step_field(name))
    throw ConfigError("log", name, "another name: records of steps have a value of this one");
  if (!scalar.defined() || scalar.numel() != 1)
    throw ConfigError("log", name,
                      fmt::format("one number, such as the mean of a tensor; it has {}",
                                  scalar.defined() ? scalar.numel() : 0));
  calls_.push_back({name, device::LateCopy(scalar)});
}

std::vector<LoggedSum> StepLog::sums() const {
  std::vector<LoggedSum> sums;
  for (const Call& call : calls_) {
    auto found = std::ranges::find(sums, call.name, &LoggedSum::name);
    if (found == sums.end()) found = sums.insert(found, {.name = call.name});
    found->sum += call.value.values().front();
    found->count += 1;
  }
  return sums;
}

}  // namespace bunchtrain::train
