// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which built-in card fits a file.

#include <string>

#include "hdf5_library.hpp"

namespace bunchtrain::data {

/// The name of the built-in card whose datasets and columns the file has. Of several that fit, one is taken
/// that reads all the datasets of the others and more (toy jets are JetNet files with one dataset more).
/// @throws DataError that lists what is there and says what the nearest card misses, which cards compete, or
/// which larger card nearly fits.
std::string recognise_card(const hdf5::File& file, const std::string& path);

/// " It looks like card 'quark_gluon' (--card quark_gluon), which train_particlenet reads." or nothing: the
/// end of a message about a card that does not fit. @param card that card: it is not suggested again.
std::string suggest_card(const hdf5::File& file, const std::string& path, const std::string& card);

}  // namespace bunchtrain::data
