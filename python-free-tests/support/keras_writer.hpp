// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Writes weight files with the structure of Keras' `save_weights`, by the HDF5 library alone.

#include <hdf5.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace bunchtrain::test {

/// One array, in the file's layout.
struct KerasArray {
  std::string name;  ///< "conv3d_1/kernel:0"
  std::vector<hsize_t> shape;
  std::vector<float> values;
};

/// Values 0, 1, 2, ...
inline KerasArray counting(std::string name, std::vector<hsize_t> shape) {
  KerasArray array{.name = std::move(name), .shape = std::move(shape), .values = {}};
  array.values.resize(
      std::accumulate(array.shape.begin(), array.shape.end(), hsize_t{1}, std::multiplies<>()));
  std::iota(array.values.begin(), array.values.end(), 0.0F);
  return array;
}

inline hid_t checked(hid_t result) {
  if (result < 0) throw std::runtime_error("HDF5 call failed in a test");
  return result;
}

class KerasWriter {
 public:
  /// @param root "" for a weight file, "model_weights" for a whole saved model.
  explicit KerasWriter(const std::filesystem::path& path, const std::string& root = "")
      : file_(checked(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT))),
        root_(root.empty() ? checked(H5Gopen2(file_, "/", H5P_DEFAULT)) : make_group(file_, root)) {}
  ~KerasWriter() {
    H5Gclose(root_);
    H5Fclose(file_);
  }
  KerasWriter(const KerasWriter&) = delete;
  KerasWriter& operator=(const KerasWriter&) = delete;

  hid_t file() const { return file_; }
  hid_t root() const { return root_; }

  /// A layer's group with its arrays and, unless `listed` is false, the attribute that names them.
  void layer(const std::string& name, const std::vector<KerasArray>& arrays, bool listed = true) {
    const hid_t group = make_group(root_, name);
    std::vector<std::string> names;
    for (const KerasArray& array : arrays) {
      write(group, array);
      names.push_back(array.name);
    }
    if (listed) write_names(group, "weight_names", names);
    H5Gclose(group);
    layers_.push_back(name);
  }

  /// The names of all layers so far, in order.
  void list_layers(const std::string& attribute = "layer_names") { write_names(root_, attribute, layers_); }

  static void write(hid_t group, const KerasArray& array) {
    const hid_t links = checked(H5Pcreate(H5P_LINK_CREATE));
    H5Pset_create_intermediate_group(links, 1);
    const hid_t space =
        checked(H5Screate_simple(static_cast<int>(array.shape.size()), array.shape.data(), nullptr));
    const hid_t dataset = checked(
        H5Dcreate2(group, array.name.c_str(), H5T_IEEE_F32LE, space, links, H5P_DEFAULT, H5P_DEFAULT));
    checked(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.values.data()));
    H5Dclose(dataset);
    H5Sclose(space);
    H5Pclose(links);
  }

  /// As h5py stores a list of byte strings: texts of one width; an empty list becomes one of numbers.
  static void write_names(hid_t object, const std::string& attribute, const std::vector<std::string>& names) {
    std::size_t width = 1;
    for (const std::string& name : names) width = std::max(width, name.size());
    std::string text;
    for (const std::string& name : names) text += name + std::string(width - name.size(), '\0');
    const hsize_t count = names.size();
    const hid_t space = checked(H5Screate_simple(1, &count, nullptr));
    const hid_t type = names.empty() ? checked(H5Tcopy(H5T_IEEE_F64LE)) : checked(H5Tcopy(H5T_C_S1));
    if (!names.empty()) H5Tset_size(type, width);
    const hid_t list = checked(H5Acreate2(object, attribute.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT));
    if (!names.empty()) checked(H5Awrite(list, type, text.data()));
    H5Aclose(list);
    H5Tclose(type);
    H5Sclose(space);
  }

 private:
  static hid_t make_group(hid_t parent, const std::string& name) {
    return checked(H5Gcreate2(parent, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  }

  hid_t file_, root_;
  std::vector<std::string> layers_;
};

}  // namespace bunchtrain::test
