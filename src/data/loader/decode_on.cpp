// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/decode_on.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "decoding_choice.hpp"
#include "decoding_device.hpp"

namespace bunchtrain::data {

std::string_view to_string(DecodeOn where) noexcept {
  if (where == DecodeOn::automatic) return "auto";
  return where == DecodeOn::host ? "host" : "device";
}

DecodeOn parse_decode_on(std::string_view text) {
  for (const DecodeOn where : {DecodeOn::automatic, DecodeOn::host, DecodeOn::device})
    if (text == to_string(where)) return where;
  throw ConfigError("decode", text, "auto, host, device");
}

namespace {

std::string why_not_on_device(const Dataset& dataset, const DataLoaderOptions& options) {
  if (const std::string why = why_no_decoding_on(options.device); !why.empty()) return why;
  if (const std::string why = dataset.device_support().why_not; !why.empty()) return why;
  if (!options.collation->gathers())
    return fmt::format("batches are made by the collation '{}'", options.collation->kind());
  return {};
}

}  // namespace

DecodingChoice choose_decoding(const Dataset& dataset, const DataLoaderOptions& options) {
  if (options.decode == DecodeOn::host || (options.decode == DecodeOn::automatic && options.device.is_cpu()))
    return {};
  const std::string why = why_not_on_device(dataset, options);
  if (options.decode == DecodeOn::automatic)
    return {.note =
                why.empty()
                    ? fmt::format(
                          "loader: the host decodes; {} lets the GPU do it, which nobody has measured yet",
                          setting("decode", "device"))
                    : fmt::format("loader: the host decodes; the GPU could not: {}", why)};
  if (!why.empty())
    throw ConfigError(
        fmt::format("{} cannot be had here: {}; auto takes the host", setting("decode", "device"), why));
  return {.on_device = true,
          .note = fmt::format("loader: inputs are computed on {}, from bytes as they are stored",
                              options.device.str())};
}

}  // namespace bunchtrain::data
