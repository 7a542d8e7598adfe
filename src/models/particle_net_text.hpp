// SPDX-License-Identifier: Apache-2.0
#pragma once
/// ParticleNet's options as the registry's: a name, the common fields, and what differs from the published
/// architecture of that name.

#include <string_view>

#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/models/registry.hpp"

namespace bunchtrain::models {

/// @throws ConfigError for further fields that ParticleNet does not have.
ParticleNetOptions to_particle_net(std::string_view name, const ModelOptions& options);

/// The line that `create_from` reads back.
std::string describe(const ParticleNetOptions& options);

}  // namespace bunchtrain::models
