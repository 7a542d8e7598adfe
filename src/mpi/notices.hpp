// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Small messages from rank to rank beside the collectives of a communicator: where are
/// you, I failed, I tell it.

#include <mpi.h>

#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::mpi {

/// What one rank knows about another.
struct PeerAnswer {
  bool heard = false;     ///< it answered the last question
  std::string operation;  ///< the collective that it waits in
  std::string phase;
};

/// Never waits. Used by the thread that initialised MPI.
class Notices {
 public:
  Notices(MPI_Comm comm, int rank, int size);
  /// Messages still on their way stay with MPI.
  ~Notices();
  Notices(const Notices&) = delete;
  Notices& operator=(const Notices&) = delete;

  /// Answers ranks that ask: this one waits in `operation`. Notes what the others say.
  void serve(std::string_view operation, std::string_view phase);
  /// Asks all ranks where they are; the answers come by `serve`.
  void ask_all();
  bool all_answered() const;
  const std::vector<PeerAnswer>& answers() const noexcept { return answers_; }

  /// Tells all ranks that this one gave up, or that it tells the user why the job ends.
  void tell_failed(std::string_view reason);
  void tell_speaks();
  /// The reason of the first rank that gave up.
  const std::optional<std::string>& failure() const noexcept { return failure_; }
  /// Whether another rank tells the user.
  bool other_speaks() const noexcept { return other_speaks_; }

 private:
  enum class Kind : std::int32_t { question, answer, failed, speaks };
  /// Small enough for every MPI to send eagerly.
  struct Notice {
    Kind kind = Kind::answer;
    std::uint32_t question = 0;
    std::array<char, 64> operation{};
    std::array<char, 120> phase{};
    std::array<char, 800> reason{};
  };
  struct Outgoing {
    Notice notice;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void send(const Notice& notice, int peer);
  void send_to_all(const Notice& notice);
  void hear(const Notice& notice, int from, std::string_view operation, std::string_view phase);

  MPI_Comm comm_;
  int rank_;
  std::vector<PeerAnswer> answers_;
  std::uint32_t question_ = 0;
  std::optional<std::string> failure_;
  bool other_speaks_ = false;
  std::list<Outgoing> outgoing_;
};

}  // namespace bunchtrain::mpi
