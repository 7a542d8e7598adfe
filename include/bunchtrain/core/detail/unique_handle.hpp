// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Owner of one C handle (file, stream, communicator): closed exactly once, move-only.

#include <utility>

namespace bunchtrain {

/// Owns one C handle described by `Traits`:
/// ```
/// struct FileTraits { using Handle = hid_t; static Handle null() noexcept; static void
/// close(Handle) noexcept; };
/// ```
/// A moved-from handle is null and closes nothing. Move assignment closes the handle it replaces.
template <class Traits>
class UniqueHandle {
 public:
  using Handle = typename Traits::Handle;

  UniqueHandle() noexcept = default;
  explicit UniqueHandle(Handle handle) noexcept : handle_(handle) {}
  UniqueHandle(UniqueHandle&& other) noexcept : handle_(other.release()) {}
  UniqueHandle& operator=(UniqueHandle&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueHandle(const UniqueHandle&) = delete;
  UniqueHandle& operator=(const UniqueHandle&) = delete;
  ~UniqueHandle() { reset(); }

  Handle get() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != Traits::null(); }
  /// Gives the handle up without closing it.
  [[nodiscard]] Handle release() noexcept { return std::exchange(handle_, Traits::null()); }
  /// Closes the handle held, if any, and takes `handle` instead.
  void reset(Handle handle = Traits::null()) noexcept {
    if (Handle old = std::exchange(handle_, handle); old != Traits::null()) Traits::close(old);
  }

 private:
  Handle handle_ = Traits::null();
};

}  // namespace bunchtrain
