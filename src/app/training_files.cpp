// SPDX-License-Identifier: Apache-2.0
#include "training_files.hpp"

namespace bunchtrain::app {

tasks::TrainingFiles training_files(const config::Options& options) {
  return {.data = options.get<std::vector<std::string>>("data"),
          .valid = options.get<std::vector<std::string>>("valid"),
          .card = options.get<std::string>("card"),
          .valid_fraction = options.get<double>("valid-fraction"),
          .hash_data = options.get<bool>("hash-data"),
          .io = data::parse_io_engine(options.get<std::string>("io")),
          .hdf5_plugins = options.get<bool>("hdf5-plugins")};
}

}  // namespace bunchtrain::app
