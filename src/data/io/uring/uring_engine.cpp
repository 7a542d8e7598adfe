// SPDX-License-Identifier: Apache-2.0
#include "io/uring_engine.hpp"

#include <fmt/format.h>

#include <memory>
#include <system_error>

#include "io/file_bytes.hpp"
#include "ring.hpp"

namespace bunchtrain::data::io {
namespace {

/// The calling thread's own; null where none can be made, from then on.
Ring* thread_ring() {
  struct Own {
    std::unique_ptr<Ring> ring;
    bool tried = false;
  };
  thread_local Own own;
  if (uring_faults().set_up != 0) return nullptr;
  if (!own.tried) {
    own.tried = true;
    own.ring = Ring::create();
  }
  if (own.ring && own.ring->is_broken()) own.ring.reset();
  return own.ring.get();
}

class UringEngine final : public Engine {
 public:
  IoEngine kind() const noexcept override { return IoEngine::io_uring; }

  std::string unavailable() const override {
    static const int probed = Ring::probe();
    const int fault = uring_faults().set_up;
    const int code = fault != 0 ? fault : probed;
    if (code == 0) return {};
    return fmt::format(
        "the system refuses io_uring ({}): containers block it, and so does the setting "
        "kernel.io_uring_disabled",
        std::generic_category().message(code));
  }

  int score(const Request& request) const override {
    if (!unavailable().empty()) return 0;
    return request.fits_in_memory() ? 40 : 100;
  }

  std::string why_not(const ByteSource& source) const override {
    if (dynamic_cast<const FileBytes*>(&source) == nullptr) return "it is no file that it could open";
    return unavailable();
  }

  void read(std::span<const Piece> pieces, std::span<std::byte> out) const override {
    Ring* ring = thread_ring();
    if (ring == nullptr) return read_each(pieces, out);
    ring->read(pieces, out);
  }
};

}  // namespace

const Engine& uring_engine() {
  static const UringEngine engine;
  return engine;
}

UringFaults& uring_faults() noexcept {
  static UringFaults faults;
  return faults;
}

}  // namespace bunchtrain::data::io
