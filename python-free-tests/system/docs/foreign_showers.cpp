// SPDX-License-Identifier: Apache-2.0
/// foreign_showers FROM TO: the showers of `bunchtrain generate gflash` under the names and in the unit of
/// the tutorial's "your own calorimeter": deposits in MeV and beam_energy in GeV.
#include <hdf5.h>

#include <vector>

namespace {

std::vector<hsize_t> extent_of(hid_t space) {
  std::vector<hsize_t> extent(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, extent.data(), nullptr);
  return extent;
}

bool copy(hid_t from, const char* name, hid_t to, const char* new_name, float factor) {
  const hid_t dataset = H5Dopen2(from, name, H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  std::vector<float> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  const bool is_read = H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0;
  for (float& value : values) value *= factor;
  H5Sset_extent_simple(space, H5Sget_simple_extent_ndims(space), extent_of(space).data(), nullptr);
  const hid_t copied = H5Dcreate2(to, new_name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const bool is_written =
      H5Dwrite(copied, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0;
  H5Dclose(copied);
  H5Sclose(space);
  H5Dclose(dataset);
  return is_read && is_written;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const hid_t from = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t to = H5Fcreate(argv[2], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (from < 0 || to < 0) return 1;
  const bool copied = copy(from, "ECAL", to, "deposits", 1000) && copy(from, "energy", to, "beam_energy", 1);
  H5Fclose(to);
  H5Fclose(from);
  return copied ? 0 : 1;
}
