// SPDX-License-Identifier: Apache-2.0
/// read_card FILE: parses a data card, of jets or of showers, as it stands in a page of the documentation.
#include <cstdio>
#include <fstream>
#include <sstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/shower_card.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::ifstream file(argv[1]);
  std::ostringstream text;
  text << file.rdbuf();
  try {
    if (text.str().find("\n[shower]") != std::string::npos) {
      bunchtrain::features::parse_shower_card(text.str(), argv[1]);
    } else {
      bunchtrain::features::parse_card(text.str(), argv[1]);
    }
  } catch (const bunchtrain::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
