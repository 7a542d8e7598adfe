// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <type_traits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/particle_net.hpp"

namespace bunchtrain::models {
namespace {

constexpr std::array<std::string_view, 2> kNames = {"particlenet", "particlenet-lite"};

class RegisteredParticleNet : public ParticleCloudModel {
 public:
  explicit RegisteredParticleNet(ParticleNetOptions options)
      : net_(std::move(options)), module_(net_.ptr()) {}
  at::Tensor forward(const at::Tensor& points, const at::Tensor& features, const at::Tensor& mask) override {
    return net_->forward(points, features, mask);
  }
  const std::shared_ptr<torch::nn::Module>& module() const noexcept override { return module_; }
  std::int64_t predicted_activation_bytes(std::int64_t jets, std::int64_t particles) const override {
    return net_->predicted_activation_bytes(jets, particles);
  }

 private:
  ParticleNet net_;
  std::shared_ptr<torch::nn::Module> module_;
};

ParticleNetOptions to_particle_net(std::string_view name, const ModelOptions& options) {
  ParticleNetOptions net = name == "particlenet-lite" ? ParticleNetOptions::lite() : ParticleNetOptions{};
  net.num_features = options.num_features;
  net.num_classes = options.num_classes;
  net.dropout = options.dropout;
  net.fusion = options.fusion;
  net.recompute = options.recompute;
  net.batch_norm_rows = options.real_rows ? BatchNormRows::real : BatchNormRows::all;
  net.seed = options.seed;
  return net;
}

/// One field of a description: how it is written and read.
struct Field {
  std::string_view name;
  std::string (*write)(const ModelOptions&);
  bool (*read)(std::string_view, ModelOptions&);
};

template <class T>
bool parse(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}
bool parse(std::string_view text, bool& value) {
  value = text == "1";
  return text == "0" || text == "1";
}

template <auto kMember>
constexpr Field make_field(std::string_view name) {
  return {name,
          [](const ModelOptions& options) {
            using T = std::remove_cvref_t<decltype(options.*kMember)>;
            if constexpr (std::is_same_v<T, bool>)
              return std::string(options.*kMember ? "1" : "0");
            else
              return fmt::format("{}", options.*kMember);
          },
          [](std::string_view text, ModelOptions& options) { return parse(text, options.*kMember); }};
}

constexpr std::array kFields = {make_field<&ModelOptions::num_features>("num_features"),
                                make_field<&ModelOptions::num_classes>("num_classes"),
                                make_field<&ModelOptions::dropout>("dropout"),
                                make_field<&ModelOptions::fusion>("fusion"),
                                make_field<&ModelOptions::recompute>("recompute"),
                                make_field<&ModelOptions::real_rows>("real_rows"),
                                make_field<&ModelOptions::seed>("seed")};

/// Cuts the text up to the next blank off `rest`.
std::string_view next_word(std::string_view& rest) {
  const std::size_t end = rest.find(' ');
  const std::string_view word = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return word;
}

void read_field(std::string_view word, ModelOptions& options) {
  const std::size_t equals = word.find('=');
  const auto field = std::ranges::find(kFields, word.substr(0, equals), &Field::name);
  if (equals == std::string_view::npos || field == kFields.end() ||
      !field->read(word.substr(equals + 1), options)) {
    throw ConfigError("model description", word,
                      "name=value as bunchtrain wrote it; was it made by a newer version?");
  }
}

}  // namespace

std::span<const std::string_view> names() noexcept { return kNames; }

std::unique_ptr<ParticleCloudModel> create(std::string_view name, const ModelOptions& options) {
  if (std::ranges::find(kNames, name) == kNames.end()) {
    throw ConfigError("model", name, fmt::format("one of {}", fmt::join(kNames, ", ")));
  }
  return std::make_unique<RegisteredParticleNet>(to_particle_net(name, options));
}

std::string describe(std::string_view name, const ModelOptions& options) {
  std::string text(name);
  for (const Field& field : kFields) text += fmt::format(" {}={}", field.name, field.write(options));
  return text;
}

std::unique_ptr<ParticleCloudModel> create_from(std::string_view description) {
  const std::string_view name = next_word(description);
  ModelOptions options;
  while (!description.empty()) read_field(next_word(description), options);
  return create(name, options);
}

std::int64_t count_parameters(const torch::nn::Module& module) {
  std::int64_t count = 0;
  for (const at::Tensor& parameter : module.parameters())
    count += parameter.requires_grad() ? parameter.numel() : 0;
  return count;
}

}  // namespace bunchtrain::models
