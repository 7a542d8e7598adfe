// SPDX-License-Identifier: Apache-2.0
#include "io/uring_engine.hpp"

namespace bunchtrain::data::io {
namespace {

class UringEngine final : public Engine {
 public:
  IoEngine kind() const noexcept override { return IoEngine::io_uring; }
  std::string unavailable() const override {
    return "bunchtrain was built without liburing (Debian: liburing-dev)";
  }
  int score(const Request&) const override { return 0; }
  std::string why_not(const ByteSource&) const override { return unavailable(); }
  void read(std::span<const Piece> pieces, std::span<std::byte> out) const override {
    read_each(pieces, out);
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
