// SPDX-License-Identifier: Apache-2.0
#include "foreign_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::hdf5 {
namespace {

namespace fs = std::filesystem;
using std::string_view_literals::operator""sv;

// Enough for the signature of a tar archive, the longest way into a file.
constexpr std::size_t kHeadBytes = 1024;

std::string head_of(const std::string& path) {
  std::string head(kHeadBytes, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(in.gcount()));
  return head;
}

bool is_text(std::string_view head) {
  return !head.empty() && std::none_of(head.begin(), head.end(), [](unsigned char c) {
    return c < 0x20 && c != '\n' && c != '\r' && c != '\t';
  });
}

std::string lower_text(std::string_view head) {
  const std::size_t begin = head.find_first_not_of("\xef\xbb\xbf \t\r\n");
  std::string text(begin == std::string_view::npos ? std::string_view{} : head.substr(begin, 64));
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Each line runs as it is printed (tested where Python has the modules).
std::string python(std::string_view modules, std::string_view body) {
  return fmt::format("python3 -c \"import {}; {}\"", modules, body);
}

struct Paths {
  std::string in, out;  // quoted for Python
};

Paths paths_of(const std::string& path) {
  // A name that the shell or Python would read in their own way is left to the user.
  if (path.find_first_of("'\"$`\\!\n") != std::string::npos) return {"'FILE'", "'FILE.h5'"};
  const std::string renamed = fs::path(path).replace_extension(".h5").string();
  return {fmt::format("'{}'", path), fmt::format("'{}'", renamed == path ? path + ".h5" : renamed)};
}

std::string root_line(const Paths& p) {
  return python("uproot, awkward as ak, h5py",
                fmt::format("f = uproot.open({}); t = f[f.keys(filter_classname='TTree')[0]]; o = "
                            "h5py.File({}, 'w'); [o.create_dataset(k, data=ak.to_numpy(ak.fill_none("
                            "ak.pad_none(a, 128, clip=True), 0) if a.ndim > 1 else a)) for k, a in "
                            "t.arrays(how=dict).items()]",
                            p.in, p.out));
}

std::string arrays_line(const Paths& p) {
  return python("numpy, h5py", fmt::format("d = numpy.load({}); o = h5py.File({}, 'w'); "
                                           "[o.create_dataset(k, data=d[k]) for k in d]",
                                           p.in, p.out));
}

std::string array_line(const Paths& p) {
  return python("numpy, h5py", fmt::format("h5py.File({}, 'w')['data'] = numpy.load({})", p.out, p.in));
}

std::string frame_line(const Paths& p, std::string_view reader) {
  return python("pandas, h5py", fmt::format("d = pandas.{}({}); o = h5py.File({}, 'w'); "
                                            "[o.create_dataset(k, data=d[k].to_numpy()) for k in d]",
                                            reader, p.in, p.out));
}

struct Signature {
  std::string_view bytes;
  std::string (*explain)(const std::string& path, std::string_view head);
};

std::string unpack(std::string_view what, std::string_view command, const std::string& path) {
  return fmt::format("a file packed with {}; unpack it first: {} '{}'", what, command, path);
}

const std::array kSignatures = {
    Signature{"root"sv,
              [](const std::string& path, std::string_view) {
                return "a ROOT file; convert it, for example its first tree with 128 entries per "
                       "vector: " +
                       root_line(paths_of(path));
              }},
    Signature{"PK\x03\x04"sv,
              [](const std::string& path, std::string_view head) {
                if (head.find(".npy") == std::string_view::npos && !path.ends_with(".npz"))
                  return fmt::format("a zip archive; unpack it first: unzip '{}'", path);
                return "an archive of NumPy arrays (npz); convert it: " + arrays_line(paths_of(path));
              }},
    Signature{"\x93NUMPY"sv,
              [](const std::string& path, std::string_view) {
                return "a NumPy array (npy); convert it: " + array_line(paths_of(path));
              }},
    Signature{"PAR1"sv,
              [](const std::string& path, std::string_view) {
                return "a Parquet file; convert it: " + frame_line(paths_of(path), "read_parquet");
              }},
    Signature{"ARROW1"sv,
              [](const std::string& path, std::string_view) {
                return "an Arrow file; convert it: " + frame_line(paths_of(path), "read_feather");
              }},
    Signature{"\x1f\x8b"sv,
              [](const std::string& path, std::string_view) { return unpack("gzip", "gunzip", path); }},
    Signature{"BZh"sv,
              [](const std::string& path, std::string_view) { return unpack("bzip2", "bunzip2", path); }},
    Signature{"\xfd"
              "7zXZ"sv,
              [](const std::string& path, std::string_view) { return unpack("xz", "unxz", path); }},
    Signature{"\x28\xb5\x2f\xfd"sv,
              [](const std::string& path, std::string_view) { return unpack("zstd", "unzstd", path); }},
    Signature{"\x0e\x03\x13\x01"sv,
              [](const std::string& path, std::string_view) {
                return fmt::format("an HDF4 file; convert it: h4toh5 '{}'", path);
              }},
    Signature{"CDF\x01"sv,
              [](const std::string& path, std::string_view) {
                return fmt::format("a classic netCDF file; convert it: nccopy -k nc4 '{0}' '{0}.h5'", path);
              }},
    Signature{"version https://git-lfs"sv,
              [](const std::string&, std::string_view) {
                return std::string("a Git LFS pointer, not the HDF5 file itself; fetch that: git lfs pull");
              }},
};

// Pickles begin with a protocol and, from the fourth on, a frame.
bool is_pickle(std::string_view head) {
  return head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
}

std::string explain_text(const std::string& path, std::string_view head) {
  const std::string text = lower_text(head);
  if (text.starts_with("<!doctype html") || text.starts_with("<html"))
    return "an HTML page; the download went to a page instead of the file: fetch it again by the "
           "address of the file itself";
  if (text.starts_with("<?xml") || text.starts_with("<"))
    return "an XML text, perhaps a server's error message; fetch the file again";
  if (text.starts_with("card = 1") || fs::path(path).extension() == ".toml")
    return "a text; a card is given by " + setting("card", path);
  return "a text; name the data file itself, or convert the text first";
}

}  // namespace

std::string explain_foreign_file(const std::string& path) {
  const std::string head = head_of(path);
  if (head.empty()) return "an empty file (0 bytes); fetch or write it again";
  for (const auto& signature : kSignatures)
    if (head.starts_with(signature.bytes)) return signature.explain(path, head);
  if (is_pickle(head))
    return "a Python pickle; convert it, for example a table of pandas: " +
           frame_line(paths_of(path), "read_pickle");
  if (head.size() > 262 && std::string_view(head).substr(257).starts_with("ustar"))
    return fmt::format("a tar archive; unpack it first: tar xf '{}'", path);
  if (is_text(head)) return explain_text(path, head);
  return {};
}

std::string explain_special_file(const std::string& path) {
  std::error_code error;
  switch (fs::status(path, error).type()) {
    case fs::file_type::fifo:
      return "a named pipe (FIFO), not a file; data are read at any place, so write them to a file first";
    case fs::file_type::socket:
      return "a socket, not a file; write the data to a file first";
    case fs::file_type::character:
    case fs::file_type::block:
      return "a device, not a file; write the data to a file first";
    case fs::file_type::directory:
      return fmt::format("a folder; name its files, for example '{}/*.h5'", path);
    default:
      return {};
  }
}

}  // namespace bunchtrain::hdf5
