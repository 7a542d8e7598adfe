// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/keras_weights.hpp"

#include <unordered_map>

#include "keras_file.hpp"

namespace bunchtrain::weights {
namespace {

using detail::KerasFile;

constexpr const char* kWholeModel = "model_weights";
constexpr const char* kOptimizer = "optimizer_weights";

std::string_view parent(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view first_part(std::string_view path) { return path.substr(0, path.find('/')); }

/// "kernel" of "conv3d_1/kernel:0".
std::string array_name(std::string_view path) {
  path.remove_prefix(path.rfind('/') + 1);
  return std::string(path.substr(0, path.find(':')));
}

/// The layer that an array belongs to. Keras repeats a layer's name in the names of its weights
/// ("conv3d_1/conv3d_1/kernel:0"), also behind the model that it lies in ("model_1/model_1/conv3d_1/...").
std::string layer_name(std::string_view group, std::string_view weight) {
  std::string_view inner = parent(weight);
  if (first_part(inner) == group) inner.remove_prefix(std::min(inner.size(), group.size() + 1));
  std::string name(group);
  if (!inner.empty()) name.append(name.empty() ? "" : "/").append(inner);
  return name;
}

/// Layers in the order in which their first array comes.
class LayerList {
 public:
  explicit LayerList(KerasFile& file) : file_(file) {}

  void add(std::string layer, const std::string& path) {
    const auto [found, is_new] = positions_.try_emplace(layer, layers_.size());
    if (is_new) layers_.push_back({.name = std::move(layer), .arrays = {}});
    KerasLayer& target = layers_[found->second];
    std::string array = array_name(path);
    if (target.arrays.contains(array)) file_.fail(path, "is the layer's second array of that name");
    target.arrays.set(std::move(array), file_.read(path));
  }

  std::vector<KerasLayer> take() { return std::move(layers_); }

 private:
  KerasFile& file_;
  std::vector<KerasLayer> layers_;
  std::unordered_map<std::string, std::size_t> positions_;
};

std::string joined(const std::string& group, const std::string& name) {
  return group.empty() ? name : group + "/" + name;
}

/// All arrays of a group, or of the whole file, that no attribute lists.
void add_unlisted(const KerasFile& file, const std::string& root, const std::string& group,
                  LayerList& layers) {
  for (const std::string& path : file.arrays_below(joined(root, group))) {
    const std::string inside = root.empty() ? path : path.substr(root.size() + 1);
    const std::string outer(first_part(inside));
    if (outer == kOptimizer) continue;
    if (outer == inside) file.fail(path, "lies in no layer's group");
    layers.add(layer_name(outer, inside.substr(outer.size() + 1)), path);
  }
}

}  // namespace

std::vector<KerasLayer> read_keras_weights(const std::filesystem::path& path) {
  const hdf5::LibraryLock lock;
  KerasFile file(path);
  const std::string root = file.has_group(kWholeModel) ? kWholeModel : "";
  LayerList layers(file);
  const auto groups = file.names(root, "layer_names");
  if (!groups) add_unlisted(file, root, "", layers);
  for (const std::string& group : groups.value_or(std::vector<std::string>())) {
    const auto weights = file.names(joined(root, group), "weight_names");
    if (!weights) add_unlisted(file, root, group, layers);
    for (const std::string& weight : weights.value_or(std::vector<std::string>()))
      layers.add(layer_name(group, weight), joined(joined(root, group), weight));
  }
  std::vector<KerasLayer> result = layers.take();
  if (result.empty()) file.fail("", "holds no layer with weights; is it a Keras weight file?");
  return result;
}

bool is_keras_weights(const std::filesystem::path& path) {
  const hdf5::LibraryLock lock;
  return H5Fis_hdf5(path.c_str()) > 0;
}

}  // namespace bunchtrain::weights
