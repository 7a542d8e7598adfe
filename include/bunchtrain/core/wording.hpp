// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How messages name what a user may choose: fields of structs in a library, flags and commands in a program.

#include <string>
#include <string_view>

namespace bunchtrain {

/// Things that a message advises to do, which a program has a command for and a library a function.
enum class Advice { look_at_data, draft_card, make_toy_jets, compare_showers };

/// The words of the library itself: "batch", "device = cpu", "features::draft_card". A program that has flags for
/// its settings derives its own and says so once by `use_wording`. Immutable, thread-safe.
class Wording {
 public:
  virtual ~Wording() = default;
  /// @param field in snake_case. @param value empty: the setting alone
  virtual std::string setting(std::string_view field, std::string_view value) const;
  /// @param file that it is about; may be empty
  virtual std::string advice(Advice advice, std::string_view file) const;
};

/// From now on messages of the whole process speak so. @param wording must live on; nullptr: the library's own.
void use_wording(const Wording* wording) noexcept;

/// For messages: "take a smaller " + setting("batch").
std::string setting(std::string_view field, std::string_view value = {});
/// For messages: "look at the columns with " + way_to(Advice::look_at_data, path).
std::string way_to(Advice advice, std::string_view file = {});

}  // namespace bunchtrain
