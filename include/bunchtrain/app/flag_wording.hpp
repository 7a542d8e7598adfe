// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Messages of programs whose settings are flags.

#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::app {

/// "--batch", "--device cpu", "bunchtrain inspect FILE --write-card": words to type.
class FlagWording final : public Wording {
 public:
  std::string setting(std::string_view field, std::string_view value) const override;
  std::string advice(Advice advice, std::string_view file) const override;
};

/// Makes messages of this process speak of flags; `run` does it for its program.
void speak_of_flags() noexcept;

}  // namespace bunchtrain::app
