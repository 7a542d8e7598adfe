// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/keras_weights.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "support/keras_writer.hpp"
#include "unit/report/temporary_folder.hpp"

namespace bunchtrain::weights {
namespace {

using test::counting;
using test::KerasWriter;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> layer_names(const std::vector<KerasLayer>& layers) {
  std::vector<std::string> names;
  for (const KerasLayer& layer : layers) names.push_back(layer.name);
  return names;
}

std::vector<std::string> array_names(const KerasLayer& layer) {
  std::vector<std::string> names;
  for (const auto& entry : layer.arrays) names.push_back(entry.name);
  return names;
}

class KerasWeightsTest : public report::TemporaryFolder {
 protected:
  std::string message() const {
    try {
      read_keras_weights(path_);
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "no error";
  }
  void write_small() const {
    KerasWriter writer(path_);
    writer.layer("dense_1", {counting("dense_1/kernel:0", {3, 2}), counting("dense_1/bias:0", {2})});
    writer.list_layers();
  }

  std::filesystem::path path_ = folder_ / "weights.h5";
};

TEST_F(KerasWeightsTest, ReadsALayersArraysInTheFilesLayout) {
  write_small();
  const auto layers = read_keras_weights(path_);
  ASSERT_EQ(layers.size(), 1);
  EXPECT_EQ(layers[0].name, "dense_1");
  EXPECT_THAT(array_names(layers[0]), ElementsAre("kernel", "bias"));
  EXPECT_TRUE(at::equal(layers[0].arrays["kernel"], at::arange(6, at::kFloat).view({3, 2})));
}

TEST_F(KerasWeightsTest, KeepsTheModelsOrderAndSkipsLayersWithoutWeights) {
  {
    KerasWriter writer(path_);
    writer.layer("input_1", {});
    writer.layer("zeta", {counting("zeta/kernel:0", {2, 2})});
    writer.layer("leaky_re_lu_1", {});
    writer.layer("alpha", {counting("alpha/kernel:0", {2, 2})});
    writer.list_layers();
  }
  EXPECT_THAT(layer_names(read_keras_weights(path_)), ElementsAre("zeta", "alpha"));
}

TEST_F(KerasWeightsTest, OpensModelsInsideModels) {
  {
    // Keras lists what is trained first, then what is not.
    KerasWriter writer(path_);
    writer.layer("model_1", {counting("conv3d_1/kernel:0", {1, 1, 1, 1, 2}), counting("conv3d_1/bias:0", {2}),
                             counting("batch_normalization_1/gamma:0", {2}),
                             counting("batch_normalization_1/beta:0", {2}),
                             counting("conv3d_2/kernel:0", {1, 1, 1, 2, 2}),
                             counting("batch_normalization_1/moving_mean:0", {2})});
    writer.layer("sequential_1", {counting("sequential_1/dense_1/kernel:0", {2, 2})});
    writer.layer("generation", {counting("generation/kernel:0", {2, 1})});
    writer.list_layers();
  }
  const auto layers = read_keras_weights(path_);
  EXPECT_THAT(layer_names(layers), ElementsAre("model_1/conv3d_1", "model_1/batch_normalization_1",
                                               "model_1/conv3d_2", "sequential_1/dense_1", "generation"));
  EXPECT_THAT(array_names(layers[1]), ElementsAre("gamma", "beta", "moving_mean"));
}

TEST_F(KerasWeightsTest, ReadsWholeSavedModels) {
  {
    KerasWriter writer(path_, "model_weights");
    writer.layer("dense_1", {counting("dense_1/kernel:0", {3, 2})});
    writer.list_layers();
    H5Gclose(H5Gcreate2(writer.file(), "optimizer_weights", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  }
  EXPECT_THAT(layer_names(read_keras_weights(path_)), ElementsAre("dense_1"));
}

TEST_F(KerasWeightsTest, OrdersByNumbersWithoutAttributes) {
  {
    KerasWriter writer(path_);
    for (const std::string number : {"_10", "_9", ""})
      writer.layer("conv3d" + number, {counting("kernel", {1, 1, 1, 1, 2}), counting("bias", {2})}, false);
    writer.layer("model_2", {counting("conv3d_011/kernel", {1, 1, 1, 1, 2})}, false);
    writer.layer("optimizer_weights", {counting("training/kernel", {1, 1, 1, 1, 2})}, false);
  }
  EXPECT_THAT(layer_names(read_keras_weights(path_)),
              ElementsAre("conv3d", "conv3d_9", "conv3d_10", "model_2/conv3d_011"));
}

TEST_F(KerasWeightsTest, ReadsListsInPartsAndOfVariableLength) {
  {
    KerasWriter writer(path_);
    writer.layer("dense_1", {counting("dense_1/kernel:0", {3, 2})}, false);
    KerasWriter::write_names(writer.root(), "layer_names0", {"dense_1"});
    writer.layer("dense_2", {counting("dense_2/kernel:0", {3, 2})});
    KerasWriter::write_names(writer.root(), "layer_names1", {"dense_2"});
    const hid_t group = H5Gopen2(writer.root(), "dense_1", H5P_DEFAULT);
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, H5T_VARIABLE);
    const hid_t list = H5Acreate2(group, "weight_names", type, space, H5P_DEFAULT, H5P_DEFAULT);
    const char* name = "dense_1/kernel:0";
    H5Awrite(list, type, &name);
    for (const auto close : {H5Aclose(list), H5Tclose(type), H5Sclose(space), H5Gclose(group)})
      ASSERT_GE(close, 0);
  }
  EXPECT_THAT(layer_names(read_keras_weights(path_)), ElementsAre("dense_1", "dense_2"));
}

TEST_F(KerasWeightsTest, TellsKerasFromOtherFiles) {
  write_small();
  write("other.safetensors", "{}");
  EXPECT_TRUE(is_keras_weights(path_));
  EXPECT_FALSE(is_keras_weights(folder_ / "other.safetensors"));
  EXPECT_FALSE(is_keras_weights(folder_ / "missing.h5"));
  EXPECT_FALSE(is_keras_weights(folder_));
}

TEST_F(KerasWeightsTest, SaysWhyAFileIsNone) {
  EXPECT_THAT(message(), HasSubstr("no such file"));
  write("weights.h5", "not HDF5");
  EXPECT_THAT(message(), HasSubstr("not an HDF5 file"));
  { KerasWriter empty(path_); }
  EXPECT_THAT(message(), HasSubstr("holds no layer with weights"));
  path_ = folder_;
  EXPECT_THAT(message(), HasSubstr("is a folder"));
}

TEST_F(KerasWeightsTest, NamesWhatTheListsPromiseInVain) {
  {
    KerasWriter writer(path_);
    writer.layer("dense_1", {}, false);
    KerasWriter::write_names(writer.root(), "layer_names", {"dense_1", "dense_2"});
    const hid_t group = H5Gopen2(writer.root(), "dense_1", H5P_DEFAULT);
    KerasWriter::write_names(group, "weight_names", {"dense_1/kernel:0"});
    H5Gclose(group);
  }
  EXPECT_THAT(message(), HasSubstr("'dense_1/dense_1/kernel:0' is named by the file but not in it"));
}

TEST_F(KerasWeightsTest, RejectsOneArrayInTwoRoles) {
  {
    KerasWriter writer(path_);
    writer.layer("dense_1", {counting("dense_1/kernel:0", {3, 2}), counting("dense_1/kernel:1", {3, 2})});
    writer.list_layers();
  }
  EXPECT_THAT(message(), HasSubstr("second array of that name"));
}

TEST_F(KerasWeightsTest, RejectsNumbersThatAreNone) {
  {
    KerasWriter writer(path_);
    writer.layer("dense_1", {}, false);
    const hsize_t count = 4;
    const hid_t space = H5Screate_simple(1, &count, nullptr);
    H5Dclose(H5Dcreate2(writer.root(), "dense_1/kernel", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT,
                        H5P_DEFAULT));
    H5Sclose(space);
  }
  EXPECT_THAT(message(), HasSubstr("'dense_1/kernel' holds no floating-point numbers"));
}

TEST_F(KerasWeightsTest, FollowsNoLinksElsewhere) {
  {
    KerasWriter writer(path_);
    KerasWriter::write_names(writer.root(), "layer_names", {"dense_1"});
    H5Lcreate_external("/etc/passwd", "/", writer.root(), "dense_1", H5P_DEFAULT, H5P_DEFAULT);
  }
  EXPECT_THAT(message(), HasSubstr("'dense_1' is a link to another place"));
}

/// Adds an array whose shape is claimed but never written.
void claim(hid_t group, std::vector<hsize_t> shape, std::vector<hsize_t> chunk,
           const std::function<void(hid_t)>& change = {}) {
  const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  if (change) {
    if (!chunk.empty()) H5Pset_chunk(create, static_cast<int>(chunk.size()), chunk.data());
    change(create);
  } else if (!chunk.empty()) {
    H5Pset_chunk(create, static_cast<int>(chunk.size()), chunk.data());
    H5Pset_deflate(create, 1);
  }
  const std::vector<hsize_t> most = chunk.empty() ? shape : std::vector<hsize_t>(shape.size(), H5S_UNLIMITED);
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), most.data());
  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  H5Dclose(
      test::checked(H5Dcreate2(group, "dense_1/kernel", H5T_IEEE_F32LE, space, links, create, H5P_DEFAULT)));
  H5Pclose(links);
  H5Sclose(space);
  H5Pclose(create);
}

TEST_F(KerasWeightsTest, ChecksSizesBeforeItAllocates) {
  struct Claim {
    std::vector<hsize_t> shape, chunk;
    std::string fault;
  };
  const hsize_t huge = 1ULL << 40;
  const std::vector<Claim> claims = {
      {{1000, 1000}, {}, "holds 0 of it"},
      {{huge}, {}, "holds 0 of it"},
      {{huge, 4}, {1024, 4}, "holds 0 of it"},
      {{1ULL << 31, 1ULL << 31, 4}, {64, 64, 4}, "more elements than there are bytes"},
      {{16}, {1 << 20}, "claims pieces larger than itself"},
      {{1, 1, 1, 1, 1, 1, 1, 1, 1}, {}, "has 9 axes; the arrays of a Keras model have 8 at most"},
      {{16, 16}, {16, 16}, "no error"},  // unwritten, but small: zeros, as HDF5 means it
  };
  for (const Claim& given : claims) {
    {
      KerasWriter writer(path_);
      claim(writer.root(), given.shape, given.chunk);
    }
    EXPECT_THAT(message(), HasSubstr(given.fault)) << given.shape[0];
  }
}

TEST_F(KerasWeightsTest, RefusesArraysKeptElsewhereOrPackedOtherwise) {
  {
    KerasWriter writer(path_);
    claim(writer.root(), {4}, {}, [](hid_t create) { H5Pset_external(create, "values.raw", 0, 16); });
  }
  EXPECT_THAT(message(), HasSubstr("lies in another file"));
  {
    KerasWriter writer(path_);
    claim(writer.root(), {4}, {4}, [](hid_t create) { H5Pset_nbit(create); });
  }
  EXPECT_THAT(message(), HasSubstr("packed by a filter that no Keras file uses"));
}

TEST_F(KerasWeightsTest, RefusesArraysOutsideOfLayers) {
  {
    KerasWriter writer(path_);
    KerasWriter::write(writer.root(), counting("kernel", {2}));
  }
  EXPECT_THAT(message(), HasSubstr("lies in no layer's group"));
}

TEST_F(KerasWeightsTest, RefusesListsThatAreNoText) {
  {
    KerasWriter writer(path_);
    writer.layer("dense_1", {counting("dense_1/kernel:0", {2})}, false);
    const hsize_t count = 2;
    const hid_t space = H5Screate_simple(1, &count, nullptr);
    H5Aclose(test::checked(
        H5Acreate2(writer.root(), "layer_names", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT)));
    H5Sclose(space);
  }
  EXPECT_THAT(message(), HasSubstr("has a damaged list 'layer_names': it is not text"));
}

TEST_F(KerasWeightsTest, IsNotCaughtInGroupsThatHoldThemselves) {
  {
    KerasWriter writer(path_);
    writer.layer("a", {}, false);
    for (const char* name : {"a/b", "a/c"})
      H5Lcreate_hard(writer.root(), "a", writer.root(), name, H5P_DEFAULT, H5P_DEFAULT);
  }
  EXPECT_THAT(message(), HasSubstr("deeper than any Keras model"));
}

/// An attribute of `count` texts of one letter; only the latest format has room for a long one.
void write_letters(hid_t group, const std::string& attribute, hsize_t count) {
  const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &count, nullptr);
  const hid_t list =
      test::checked(H5Acreate2(group, attribute.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT));
  EXPECT_GE(H5Awrite(list, type, std::string(count, 'a').data()), 0);
  H5Aclose(list);
  H5Sclose(space);
  H5Tclose(type);
}

TEST_F(KerasWeightsTest, ListsLongerThanAnyModelAreRefused) {
  {
    KerasWriter writer(path_);
    for (const char* part : {"layer_names0", "layer_names1"}) write_letters(writer.root(), part, 40'000);
  }
  EXPECT_THAT(message(), HasSubstr("lists more than 65536 names"));
  {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    const hid_t file = test::checked(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access));
    write_letters(file, "layer_names", 70'000);
    H5Fclose(file);
    H5Pclose(access);
  }
  EXPECT_THAT(message(), AllOf(HasSubstr("has a damaged list 'layer_names'"),
                               HasSubstr("70000 names of 1 bytes in a file of")));
}

/// Few groups, but 41 ways from each level to the next: more ways through the file than a model has objects.
TEST_F(KerasWeightsTest, IsNotCaughtInGroupsThatShareTheirMembers) {
  {
    KerasWriter writer(path_);
    for (const char* level : {"a", "b", "c", "d"}) writer.layer(level, {}, false);
    for (const auto& [upper, lower] :
         std::vector<std::pair<std::string, std::string>>{{"a", "b"}, {"b", "c"}, {"c", "d"}})
      for (int i = 0; i < 41; ++i)
        H5Lcreate_hard(writer.root(), lower.c_str(), writer.root(), (upper + "/" + std::to_string(i)).c_str(),
                       H5P_DEFAULT, H5P_DEFAULT);
  }
  EXPECT_THAT(message(), HasSubstr("is one of more than 65536 objects"));
}

}  // namespace
}  // namespace bunchtrain::weights
