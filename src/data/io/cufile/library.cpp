// SPDX-License-Identifier: Apache-2.0
#include "library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace bunchtrain::data::io::cufile {
namespace {

struct Known {
  int code;
  std::string_view meaning;
};
/// Those that documentation and reports of users know.
constexpr std::array kKnown = {
    Known{5001, "its kernel driver is not loaded"},
    Known{5004, "its kernel driver is of another version"},
    Known{5007, "not on this platform"},
    Known{5008, "not for this file"},
    Known{5009, "not for this GPU"},
    Known{5011, "CUDA's driver fails"},
    Known{5018, "not for this kind of file"},
    Known{5019, "the file is open with other flags"},
    Known{5020, "the file is open through the page cache"},
    Known{5025, "no right to its driver or to the file"},
    Known{5029, "no GPU"},
    Known{5030, "an internal error, as on overlay file systems"},
    Known{5036, "memory cannot be pinned"},
};

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

}  // namespace

std::string Library::open(const std::string& name) {
  void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fmt::format("{} cannot be loaded ({})", name, ::dlerror());
  const bool complete = find(library, "cuFileDriverOpen", driver_open) &&
                        find(library, "cuFileHandleRegister", handle_register) &&
                        find(library, "cuFileHandleDeregister", handle_deregister) &&
                        find(library, "cuFileBufRegister", buffer_register) &&
                        find(library, "cuFileBufDeregister", buffer_deregister) &&
                        find(library, "cuFileRead", read);
  if (!complete) return fmt::format("{} lacks calls of cuFile", name);
  const Status status = driver_open();
  return status.code == 0 ? std::string() : "its driver does not open: " + describe(status);
}

std::string describe(Status status) {
  const auto found = std::ranges::find(kKnown, status.code, &Known::code);
  const std::string meaning = found == kKnown.end() ? "" : fmt::format(" ({})", found->meaning);
  const std::string cuda = status.cuda == 0 ? "" : fmt::format(", CUDA error {}", status.cuda);
  return fmt::format("cuFile error {}{}{}", status.code, meaning, cuda);
}

}  // namespace bunchtrain::data::io::cufile
