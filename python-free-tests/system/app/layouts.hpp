// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Small files in the layouts that the field has, each with jets that can be told apart.

#include <hdf5.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bunchtrain::test {

constexpr hsize_t kJets = 120;
constexpr hsize_t kSlots = 12;

/// Numbers with a pattern: particle `slot` of jet `row` is real in the first 9 + row % 4 slots.
class LayoutWriter {
 public:
  explicit LayoutWriter(const std::string& path)
      : file_(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {}
  ~LayoutWriter() { H5Fclose(file_); }
  LayoutWriter(const LayoutWriter&) = delete;
  LayoutWriter& operator=(const LayoutWriter&) = delete;

  static bool is_real(hsize_t row, hsize_t slot) { return slot < 9 + row % 4; }
  /// Feature `which` of a particle, 0 in padding; positive for which == 0.
  static float feature(hsize_t row, hsize_t slot, int which) {
    if (!is_real(row, slot)) return 0;
    const auto x = static_cast<float>((row * 37 + slot * 11 + static_cast<hsize_t>(which) * 5) % 23);
    return which == 0 ? 1 + x : (x - 11) / 20;
  }

  void write(const std::string& name, const std::vector<hsize_t>& shape, const std::vector<float>& values) {
    put(name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, shape, values.data());
  }
  void write(const std::string& name, const std::vector<hsize_t>& shape,
             const std::vector<std::int32_t>& values) {
    put(name, H5T_STD_I32LE, H5T_NATIVE_INT32, shape, values.data());
  }
  void put(const std::string& name, hid_t type, hid_t memory, const std::vector<hsize_t>& shape,
           const void* values) {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    const hid_t dataset = H5Dcreate2(file_, name.c_str(), type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(dataset);
    H5Pclose(links);
    H5Sclose(space);
  }

  /// One dataset [jets, slots] of a feature.
  void write_feature(const std::string& name, int which) {
    std::vector<float> values;
    for (hsize_t row = 0; row < kJets; ++row)
      for (hsize_t slot = 0; slot < kSlots; ++slot) values.push_back(feature(row, slot, which));
    write(name, {kJets, kSlots}, values);
  }
  void write_mask(const std::string& name) {
    std::vector<std::int32_t> values;
    for (hsize_t row = 0; row < kJets; ++row)
      for (hsize_t slot = 0; slot < kSlots; ++slot) values.push_back(is_real(row, slot));
    write(name, {kJets, kSlots}, values);
  }
  void write_labels(const std::string& name, std::int32_t classes = 2) {
    std::vector<std::int32_t> values;
    for (hsize_t row = 0; row < kJets; ++row) values.push_back(static_cast<std::int32_t>(row) % classes);
    write(name, {kJets}, values);
  }
  /// [jets, slots, 4]: eta, phi, pt, mask of JetNet; `shift` tells files apart.
  void write_jetnet(const std::string& prefix, bool labelled, float shift = 0) {
    std::vector<float> particles, jets;
    for (hsize_t row = 0; row < kJets; ++row) {
      for (hsize_t slot = 0; slot < kSlots; ++slot) {
        const std::vector<float> one = {feature(row, slot, 1), feature(row, slot, 2),
                                        feature(row, slot, 0) / 100, is_real(row, slot) ? 1.F : 0.F};
        particles.insert(particles.end(), one.begin(), one.end());
      }
      for (const float value : {100.F + shift, 0.5F, 20.F, 10.F}) jets.push_back(value);
    }
    write(prefix + "particle_features", {kJets, kSlots, 4}, particles);
    write(prefix + "jet_features", {kJets, 4}, jets);
    if (labelled) write_labels(prefix + "jet_label", 5);
  }
  /// Rows [jets, 804] of E, px, py, pz and the truth, as the top-tagging set has them.
  static std::vector<float> top_tagging_rows() {
    std::vector<float> values(kJets * 804, 0.F);
    for (hsize_t row = 0; row < kJets; ++row)
      for (hsize_t slot = 0; slot < kSlots; ++slot) {
        float* p = values.data() + row * 804 + slot * 4;
        if (!is_real(row, slot)) continue;
        p[1] = feature(row, slot, 0);
        p[2] = feature(row, slot, 1);
        p[3] = feature(row, slot, 2);
        p[0] = std::hypot(p[1], std::hypot(p[2], p[3])) + 0.1F;
      }
    return values;
  }
  /// The pandas table of the top-tagging set, [jets] of {index, 804 floats, 2 flags}.
  void write_table(const std::string& name) {
    struct Row {
      std::int64_t index;
      float values[804];
      std::int64_t flags[2];
    };
    const auto numbers = top_tagging_rows();
    std::vector<Row> rows(kJets);
    for (hsize_t row = 0; row < kJets; ++row) {
      rows[row].index = static_cast<std::int64_t>(row);
      std::copy_n(numbers.data() + row * 804, 804, rows[row].values);
      rows[row].flags[0] = 0;
      rows[row].flags[1] = static_cast<std::int64_t>(row % 2);
    }
    const hsize_t wide = 804, two = 2;
    const hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(Row));
    H5Tinsert(type, "index", HOFFSET(Row, index), H5T_NATIVE_INT64);
    H5Tinsert(type, "values_block_0", HOFFSET(Row, values), H5Tarray_create2(H5T_NATIVE_FLOAT, 1, &wide));
    H5Tinsert(type, "values_block_1", HOFFSET(Row, flags), H5Tarray_create2(H5T_NATIVE_INT64, 1, &two));
    put(name, type, type, {kJets}, rows.data());
    H5Tclose(type);
  }
  /// Compounds `jets` [jets] and `tracks` [jets, slots] of another experiment, NaN in padding.
  void write_compounds(bool labelled, float shift = 0) {
    struct Track {
      float pt, deta, dphi, d0;
      std::int8_t valid;
    };
    struct Jet {
      float pt, eta;
      std::int32_t flavour;
    };
    std::vector<Track> tracks;
    std::vector<Jet> jets;
    for (hsize_t row = 0; row < kJets; ++row) {
      jets.push_back({100.F + shift + static_cast<float>(row), 0.1F, static_cast<std::int32_t>(row % 3)});
      for (hsize_t slot = 0; slot < kSlots; ++slot)
        tracks.push_back(is_real(row, slot) ? Track{feature(row, slot, 0) + shift, feature(row, slot, 1),
                                                    feature(row, slot, 2), feature(row, slot, 3), 1}
                                            : Track{NAN, NAN, NAN, NAN, 0});
    }
    const hid_t track = H5Tcreate(H5T_COMPOUND, sizeof(Track));
    H5Tinsert(track, "pt [GeV]", HOFFSET(Track, pt), H5T_NATIVE_FLOAT);
    H5Tinsert(track, "deta", HOFFSET(Track, deta), H5T_NATIVE_FLOAT);
    H5Tinsert(track, "dphi", HOFFSET(Track, dphi), H5T_NATIVE_FLOAT);
    H5Tinsert(track, "d0", HOFFSET(Track, d0), H5T_NATIVE_FLOAT);
    H5Tinsert(track, "valid", HOFFSET(Track, valid), H5T_NATIVE_INT8);
    const hid_t jet = H5Tcreate(H5T_COMPOUND, sizeof(Jet));
    H5Tinsert(jet, "pt", HOFFSET(Jet, pt), H5T_NATIVE_FLOAT);
    H5Tinsert(jet, "eta", HOFFSET(Jet, eta), H5T_NATIVE_FLOAT);
    if (labelled) H5Tinsert(jet, "flavour_label", HOFFSET(Jet, flavour), H5T_NATIVE_INT32);
    put("tracks:v2", track, track, {kJets, kSlots}, tracks.data());
    put("jets", jet, jet, {kJets}, jets.data());
    H5Tclose(track);
    H5Tclose(jet);
  }

 private:
  hid_t file_;
};

}  // namespace bunchtrain::test
