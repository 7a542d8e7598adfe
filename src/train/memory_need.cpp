// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/detail/memory_need.hpp"

#include <fmt/format.h>

#include <exception>
#include <mutex>

#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::train {
namespace {

struct Remembered {
  std::mutex mutex;
  MemoryNeed need;
};

Remembered& remembered() {
  static Remembered all;
  return all;
}

std::string gigabytes(std::int64_t bytes) {
  return fmt::format("{:.2f} GB", 1e-9 * static_cast<double>(bytes));
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

std::string memory_warning(const MemoryNeed& need, const std::optional<device::DeviceMemory>& memory) {
  if (!memory || need.predicted_bytes <= memory->free_bytes) return {};
  return fmt::format(
      "a pass is expected to need {}, and {} of the GPU's {} are free: take a smaller {}, {} it in more "
      "passes, or {}",
      gigabytes(need.predicted_bytes), gigabytes(memory->free_bytes), gigabytes(memory->total_bytes),
      setting("batch"), setting("accumulate"), setting("recompute"));
}

std::string out_of_memory_text(const MemoryNeed& need, const std::optional<device::DeviceMemory>& memory,
                               const std::string& library_text) {
  std::string text = "out of memory on the GPU: ";
  if (need.predicted_bytes > 0)
    text += fmt::format("a pass was expected to need {}; ", gigabytes(need.predicted_bytes));
  if (memory)
    text += fmt::format("{} of {} are free; ", gigabytes(memory->free_bytes), gigabytes(memory->total_bytes));
  return text + fmt::format("take a smaller {}, {} it in more passes, or {} where the program has it. {}",
                            setting("batch"), setting("accumulate"), setting("recompute"),
                            first_line(library_text));
}

void expect_memory(const MemoryNeed& need, const Logger& logger) {
  {
    const std::scoped_lock lock(remembered().mutex);
    remembered().need = need;
  }
  const std::string warning = memory_warning(need, device::observe_memory(need.device));
  if (!warning.empty()) logger.warning(warning);
}

std::string describe_out_of_memory(const std::string& library_text) noexcept try {
  MemoryNeed need;
  {
    const std::scoped_lock lock(remembered().mutex);
    need = remembered().need;
  }
  std::optional<device::DeviceMemory> memory;
  try {
    memory = device::observe_memory(need.device);
  } catch (const std::exception&) {
    // What the library said has to do.
  }
  return out_of_memory_text(need, memory, library_text);
} catch (const std::exception&) {
  return "out of memory";
}

}  // namespace bunchtrain::train
