// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <type_traits>

#include "bunchtrain/core/error.hpp"
#include "particle_net_text.hpp"

namespace bunchtrain::models {
namespace {

class RegisteredParticleNet : public ParticleCloudModel {
 public:
  explicit RegisteredParticleNet(ParticleNetOptions options)
      : net_(std::move(options)), module_(net_.ptr()) {}
  at::Tensor forward(const at::Tensor& points, const at::Tensor& features, const at::Tensor& mask) override {
    return net_->forward(points, features, mask);
  }
  const std::shared_ptr<torch::nn::Module>& module() const noexcept override { return module_; }
  std::int64_t predicted_activation_bytes(std::int64_t jets, std::int64_t particles,
                                          nn::EdgeStorage storage) const override {
    return net_->predicted_activation_bytes(jets, particles, storage);
  }

 private:
  ParticleNet net_;
  std::shared_ptr<torch::nn::Module> module_;
};

struct NamedModel {
  std::string name;
  ModelFactory make;
};

NamedModel particle_net(const char* name) {
  return {name, [name](const ModelOptions& options) {
            return std::make_unique<RegisteredParticleNet>(to_particle_net(name, options));
          }};
}

std::vector<NamedModel>& known_models() {
  static std::vector<NamedModel> models = {particle_net("particlenet"), particle_net("particlenet-lite")};
  return models;
}

const NamedModel* find_model(std::string_view name) {
  const auto& models = known_models();
  const auto found = std::ranges::find(models, name, &NamedModel::name);
  return found == models.end() ? nullptr : &*found;
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
  const std::string_view name = word.substr(0, equals);
  const auto field = std::ranges::find(kFields, name, &Field::name);
  const bool complete = equals != std::string_view::npos && equals > 0;
  if (complete && field == kFields.end()) {
    options.more.insert_or_assign(std::string(name), std::string(word.substr(equals + 1)));
    return;
  }
  if (!complete || !field->read(word.substr(equals + 1), options)) {
    throw ConfigError("model description", word,
                      "name=value as bunchtrain wrote it; was it made by a newer version?");
  }
}

bool is_word(std::string_view text) {
  return !text.empty() && text.find_first_of(" \t\n=") == std::string_view::npos;
}

}  // namespace

void register_model(std::string name, ModelFactory factory) {
  if (!is_word(name) || !factory) throw ConfigError("model", name, "one word and a function that makes it");
  if (find_model(name)) throw ConfigError("model", name, "a name that no other model has");
  known_models().push_back({std::move(name), std::move(factory)});
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& model : known_models()) all.push_back(model.name);
  return all;
}

std::unique_ptr<ParticleCloudModel> create(std::string_view name, const ModelOptions& options) {
  if (const NamedModel* model = find_model(name)) return model->make(options);
  throw ConfigError("model", name,
                    fmt::format("one of {}, or one that the program registers (models::register_model)",
                                fmt::join(names(), ", ")));
}

std::string describe(std::string_view name, const ModelOptions& options) {
  std::string text(name);
  for (const Field& field : kFields) text += fmt::format(" {}={}", field.name, field.write(options));
  for (const auto& [field, value] : options.more) {
    if (!is_word(field) || value.find(' ') != std::string::npos)
      throw ConfigError(field, value, "a name and a value without blanks");
    text += fmt::format(" {}={}", field, value);
  }
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
