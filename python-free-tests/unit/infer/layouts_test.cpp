// SPDX-License-Identifier: Apache-2.0
/// Scores of raw columns are those that an evaluation of the file writes, for every layout that is shipped.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/softmax.h>
#include <gmock/gmock.h>

#include <thread>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bundles.hpp"
#include "jets/jet_file.hpp"

namespace bunchtrain::infer::test {
namespace {

struct Layout {
  const char* card;
  const char* file;
};

constexpr std::int64_t kRows = 400;

void PrintTo(const Layout& layout, std::ostream* out) { *out << layout.card; }

class LayoutsTest : public ::testing::TestWithParam<Layout> {
 protected:
  LayoutsTest()
      : file_(std::string(BUNCHTRAIN_TEST_DATA) + "/jets/" + GetParam().file),
        dataset_({.files = {file_}, .card = GetParam().card, .length = 48, .labels_required = false}),
        bundle_(make_bundle(dataset_.card(), models::ParticleNetOptions::lite())),
        predictor_(Predictor::load(folder_.write(bundle_))) {
    const features::FeaturePipeline pipeline(dataset_.card());
    const data::JetFile file(file_, pipeline);
    file.read(0, kRows, data::ColumnSet::all, raw_);
    expected_ = evaluate();
  }

  /// As jet_tagging::evaluate does it: the loader's batches of 256, softmax in double.
  std::vector<std::vector<double>> evaluate() {
    const auto network = models::create_from(bundle_.model);
    weights::load_into(*network, bundle_.weights, "bundle");
    network->eval();
    const at::NoGradGuard no_gradients;
    data::DataLoader loader(dataset_.all(), {.global_batch = 256, .shuffle = false});
    std::vector<std::vector<double>> rows(kRows);
    const auto places = dataset_.rows_of(*dataset_.all());
    for (std::size_t next = 0; next < places.size() && places[next].row < kRows;) {
      const auto batch = loader.next();
      const at::Tensor scores =
          at::softmax(nn::as_model(*network)->forward(batch->tensors)["logits"].to(at::kDouble), 1);
      for (std::int64_t i = 0; i < scores.size(0) && places[next].row < kRows; ++i, ++next) {
        const double* row = scores.const_data_ptr<double>() + i * scores.size(1);
        rows[static_cast<std::size_t>(places[next].row)].assign(row, row + scores.size(1));
      }
    }
    return rows;
  }

  /// Each thread its part, in calls of a few jets.
  std::vector<double> score_in_pieces(const Predictor& predictor, const RawJets& jets, int threads) const {
    const std::size_t width = predictor.outputs().size();
    std::vector<double> scores(kRows * width, -1);
    std::vector<std::jthread> callers;
    for (int t = 0; t < threads; ++t)
      callers.emplace_back([&, t] {
        Scratch scratch = predictor.make_scratch();
        std::vector<RawColumn> views;
        const std::int64_t end = kRows * (t + 1) / threads;
        for (std::int64_t jet = kRows * t / threads, count = 1 + t; jet < end;
             jet += count, count = count % 29 + 7) {
          const std::int64_t number = std::min(count, end - jet);
          predictor.run(part(jets, views, jet, number),
                        std::span(scores).subspan(static_cast<std::size_t>(jet) * width,
                                                  static_cast<std::size_t>(number) * width),
                        scratch);
        }
      });
    callers.clear();
    return scores;
  }

  /// Jets that the card leaves out are scored too, but not by an evaluation.
  void expect_equal(std::span<const double> scores, double tolerance = 0) const {
    const std::size_t width = predictor_.outputs().size();
    std::size_t compared = 0;
    for (std::size_t i = 0; i < scores.size() / width; ++i) {
      const auto& row = expected_[i];
      if (row.empty()) continue;
      ++compared;
      for (std::size_t c = 0; c < width; ++c)
        ASSERT_NEAR(scores[i * width + c], row[c], tolerance) << "jet " << i;
    }
    EXPECT_GT(compared, 0U);
  }

  const BundleFolder folder_;
  std::string file_;
  data::JetDataset dataset_;
  weights::Bundle bundle_;
  Predictor predictor_;
  features::RawColumns raw_;
  std::vector<std::vector<double>> expected_;
};

TEST_P(LayoutsTest, ScoresAreThoseOfAnEvaluation) {
  Columns columns(raw_, predictor_.inputs());
  std::vector<double> scores(kRows * predictor_.outputs().size());
  Scratch scratch = predictor_.make_scratch();
  predictor_.run(columns.jets(), scores, scratch);
  expect_equal(scores);
}

TEST_P(LayoutsTest, ThreadsAtOnceGiveTheSameBits) {
  Columns columns(raw_, predictor_.inputs());
  for (const std::size_t threads : {2, 8}) {
    std::vector<std::vector<double>> scores(threads,
                                            std::vector<double>(kRows * predictor_.outputs().size()));
    std::vector<std::jthread> callers;
    for (auto& own : scores)
      callers.emplace_back([&] {
        Scratch scratch = predictor_.make_scratch();
        predictor_.run(columns.jets(), own, scratch);
      });
    callers.clear();
    for (const auto& own : scores) expect_equal(own);
  }
}

/// Matrix products of other sizes add in other orders: the last bits differ. The fast engine's do not, but it folds norms.
TEST_P(LayoutsTest, AnySplitByAnyNumberOfThreads) {
  Columns columns(raw_, predictor_.inputs());
  const Predictor fast = Predictor::load(folder_.path() / "net", {.engine = Engine::fast});
  std::vector<double> first;
  const Predictor* const engines[] = {&predictor_, &fast};
  for (const Predictor* predictor : engines)
    for (const int threads : {1, 2, 4, 8}) {
      const std::vector<double> scores = score_in_pieces(*predictor, columns.jets(), threads);
      expect_equal(scores, 1e-6);
      if (predictor == &predictor_) continue;
      if (first.empty()) first = scores;
      EXPECT_EQ(scores, first) << threads;
    }
}

INSTANTIATE_TEST_SUITE_P(
    Cards, LayoutsTest,
    ::testing::Values(Layout{"top_tagging", "toptagging_val.h5"}, Layout{"quark_gluon", "quark_gluon.h5"},
                      Layout{"jetnet", "cms_ttbar_ak4_jets.h5"}, Layout{"cms_btag", "cms_ttbar_ak4_jets.h5"},
                      Layout{"upp", "upp_like_jets.h5"}, Layout{"spanet", "spanet_like_jets.h5"}),
    [](const auto& info) { return std::string(info.param.card); });

}  // namespace
}  // namespace bunchtrain::infer::test
