// SPDX-License-Identifier: Apache-2.0
#include "agreed_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <system_error>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/detail/rank_ranges.hpp"

namespace bunchtrain::mpi {
namespace {

using Kind = AgreedError::Kind;

std::string text_of(const std::exception& error) {
  return *error.what() != '\0' ? error.what() : "an error without a text";
}

}  // namespace

std::string AgreedError::to_bytes() const {
  if (empty()) return {};
  return fmt::format("{}{} {}", static_cast<char>(kind), code, text);
}

AgreedError AgreedError::from_bytes(const std::string& bytes) {
  if (bytes.empty()) return {};
  const auto space = std::min(bytes.find(' '), bytes.size() - 1);
  return {.kind = static_cast<Kind>(bytes.front()),
          .code = std::stoi(bytes.substr(1, space - 1)),
          .text = bytes.substr(space + 1)};
}

AgreedError catch_error(const std::function<void()>& action) {
  try {
    action();
    return {};
  } catch (const CommError&) {
    throw;
  } catch (const IoError& error) {
    return {.kind = Kind::io, .code = error.code(), .text = text_of(error)};
  } catch (const ConfigError& error) {
    return {.kind = Kind::config, .text = text_of(error)};
  } catch (const DataError& error) {
    return {.kind = Kind::data, .text = text_of(error)};
  } catch (const CheckpointError& error) {
    return {.kind = Kind::checkpoint, .text = text_of(error)};
  } catch (const DeviceError& error) {
    return {.kind = Kind::device, .text = text_of(error)};
  } catch (const std::system_error& error) {
    const int code = error.code().value();
    return {.kind = may_pass(code) ? Kind::io : Kind::data, .code = code, .text = text_of(error)};
  } catch (const std::exception& error) {
    return {.kind = Kind::other, .text = text_of(error)};
  }
}

void throw_agreed(const std::vector<AgreedError>& errors) {
  std::vector<std::string> texts;
  for (const AgreedError& error : errors) texts.push_back(error.text);
  const std::string text = merge_errors(texts);
  const auto first = std::ranges::find_if(errors, [](const AgreedError& error) { return !error.empty(); });
  switch (first == errors.end() ? Kind::other : first->kind) {
    case Kind::io:
      throw IoError(text, first->code);
    case Kind::config:
      throw ConfigError(text);
    case Kind::data:
      throw DataError(text);
    case Kind::checkpoint:
      throw CheckpointError(text);
    case Kind::device:
      throw DeviceError(text);
    default:
      throw Error(text);
  }
}

std::string merge_errors(const std::vector<std::string>& texts) {
  std::map<std::string_view, std::vector<int>> ranks_by_text;
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    if (!texts[rank].empty()) ranks_by_text[texts[rank]].push_back(static_cast<int>(rank));
  }
  if (ranks_by_text.size() == 1 && ranks_by_text.begin()->second.size() == texts.size()) {
    return std::string(ranks_by_text.begin()->first);  // all agree: no need to name anyone
  }
  std::string message;
  for (const auto& [text, ranks] : ranks_by_text) {
    message += fmt::format("{}{}: {}", message.empty() ? "" : "\n", rank_ranges(ranks), text);
  }
  return message;
}

}  // namespace bunchtrain::mpi
