// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Events of hits in every layout, for the tests of hits.

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "bunchtrain/data/hit_dataset.hpp"
#include "hdf5_samples.hpp"

namespace bunchtrain::data {

using Numbers = std::vector<std::int64_t>;

inline at::Tensor as_tensor(const Numbers& numbers) { return at::tensor(numbers, at::kLong); }

inline Numbers running_sums(const Numbers& counts) {
  Numbers splits = {0};
  for (const std::int64_t count : counts) splits.push_back(splits.back() + count);
  return splits;
}

/// Hit j of event i has the energy 100 i + j + 1 MeV, x = j cm and the class j mod 2; event i has the number 10 + 3 i.
struct Events {
  Numbers counts = {3, 0, 5, 1, 0, 8, 2, 4, 0, 7, 6, 1};

  std::int64_t size() const { return std::ssize(counts); }
  at::Tensor per_hit(const std::function<double(std::int64_t event, std::int64_t hit)>& value) const {
    std::vector<float> values;
    for (std::int64_t i = 0; i < size(); ++i)
      for (std::int64_t j = 0; j < counts[static_cast<std::size_t>(i)]; ++j)
        values.push_back(static_cast<float>(value(i, j)));
    return values.empty() ? at::empty({0}) : at::tensor(values);
  }
  at::Tensor hits() const {
    return at::stack(
        {per_hit([](auto i, auto j) { return 100 * i + j + 1; }), per_hit([](auto, auto j) { return j; })},
        1);
  }
  at::Tensor kinds() const {
    return per_hit([](auto, auto j) { return j % 2; }).to(at::kInt);
  }
  at::Tensor numbers_of_hits() const {
    return per_hit([](auto i, auto) { return 10 + 3 * i; }).to(at::kLong);
  }
  at::Tensor numbers() const { return at::arange(size(), at::kLong) * 3 + 10; }
  /// [events, slots, ...] of values [hits, ...].
  at::Tensor padded(const at::Tensor& values, std::int64_t slots) const {
    auto sizes = values.sizes().vec();
    sizes.insert(sizes.begin(), {size()});
    sizes[1] = slots;
    at::Tensor all = at::zeros(sizes, values.options());
    const Numbers splits = running_sums(counts);
    for (std::int64_t i = 0; i < size(); ++i) {
      const auto e = static_cast<std::size_t>(i);
      all[i].slice(0, 0, counts[e]).copy_(values.slice(0, splits[e], splits[e + 1]));
    }
    return all;
  }
};

inline constexpr std::string_view kSources = R"toml(
[[read.hit]]
from = "hits"
columns = ["energy", "x"]
unit = { energy = "MeV", x = "cm" }
[[read.hit]]
from = "kind"
columns = ["kind"]
[[read.event]]
from = "number"
columns = ["number"]
[define]
event.sum = "sum(hit.energy)"
hit.share = "hit.energy / event.sum"
[inputs]
features = ["hit.energy", "hit.x"]
shares = ["hit.share"]
[label]
of = "hit.kind"
classes = [["even", 0], ["odd", 1]]
[output]
observers = ["event.number", "event.sum"]
)toml";

class HitDatasetTest : public Hdf5FilesTest {
 protected:
  using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

  std::string write(const Tensors& tensors, std::int64_t chunk = 7,
                    const std::string& name = "events.h5") const {
    Hdf5Writer writer(path(name));
    for (const auto& [dataset, tensor] : tensors)
      writer.create_dataset(dataset, tensor.contiguous(),
                            std::min(chunk, std::max<std::int64_t>(tensor.size(0), 1)));
    writer.commit();
    return path(name);
  }
  std::string write_csr(const Events& events = {}, const std::string& name = "events.h5") const {
    return write({{"hits", events.hits()},
                  {"kind", events.kinds()},
                  {"number", events.numbers()},
                  {"splits", as_tensor(running_sums(events.counts))}},
                 7, name);
  }
  std::string write_card(std::string_view layout, std::string_view more = "",
                         std::string_view sources = kSources) const {
    const std::string name = path("card.toml");
    std::ofstream(name) << "card = 1\nkind = \"hits\"\n[layout]\n" << layout << sources << more;
    return name;
  }
  static constexpr std::string_view kCsr = "type = \"csr\"\nrow_splits = \"splits\"\n";

  /// What is said on opening a file that cannot be read.
  static std::string refusal(const HitDatasetOptions& options) {
    try {
      const HitDataset dataset(options);
    } catch (const DataError& error) {
      return error.what();
    } catch (const std::exception& other) {
      return std::string("another exception: ") + other.what();
    }
    return "no exception";
  }
  static void expect_all(const DatasetPtr& dataset, const Events& events) {
    DataLoader loader(dataset, {.global_batch = events.size(), .shuffle = false});
    const Batch batch = loader.next().value();
    ASSERT_EQ(batch.elements, running_sums(events.counts).back());
    EXPECT_TRUE(batch["row_splits"].equal(as_tensor(running_sums(events.counts))));
    EXPECT_TRUE(batch["label"].equal(events.kinds().to(at::kLong)));
    EXPECT_TRUE(batch["features"].allclose(events.hits() * at::tensor({0.001F, 10.0F}), 1e-6));  // GeV, mm
    EXPECT_TRUE(batch["observer.event.number"].equal(events.numbers().to(at::kDouble)));
    EXPECT_NEAR(batch["shares"].sum().item<double>(),
                static_cast<double>(std::ranges::count_if(events.counts, [](auto n) { return n > 0; })),
                1e-5);
  }
};

}  // namespace bunchtrain::data
