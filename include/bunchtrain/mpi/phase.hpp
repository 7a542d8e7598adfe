// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a job is doing, for the messages about ranks that do not answer.

#include <memory>
#include <string>

namespace bunchtrain::mpi {

/// What a rank that comes late to a phase's collectives may be waiting for. For a
/// disk there is more patience.
enum class Waits { for_peers, for_disk };

/// A part of the job, from construction to destruction: "opening the run folder". Made by
/// `Comm::in_phase`; phases nest, the innermost counts.
class Phase {
 public:
  struct Stack;
  Phase(std::shared_ptr<Stack> stack, std::string text, Waits waits);
  ~Phase();
  Phase(const Phase&) = delete;
  Phase& operator=(const Phase&) = delete;

 private:
  std::shared_ptr<Stack> stack_;
};

}  // namespace bunchtrain::mpi
