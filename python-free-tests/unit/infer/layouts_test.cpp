// SPDX-License-Identifier: Apache-2.0
/// Scores of raw columns are those that an evaluation of the file writes, for every layout that is shipped.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/softmax.h>
#include <gmock/gmock.h>

#include <numeric>
#include <thread>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/data/raw_jets.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/simulate/toy_jets.hpp"
#include "bundles.hpp"
#include "lite/ragged_jets.hpp"

namespace bunchtrain::infer::test {
namespace {

struct Layout {
  const char* card;
  const char* file;  ///< empty: toy jets are made
};

constexpr std::int64_t kRows = 400;
constexpr std::int64_t kRowsAlone = 40;  ///< where each jet is a batch of its own

void PrintTo(const Layout& layout, std::ostream* out) { *out << layout.card; }

class LayoutsTest : public ::testing::TestWithParam<Layout> {
 protected:
  LayoutsTest()
      : file_(find_file()),
        dataset_({.files = {file_}, .card = GetParam().card, .length = 48, .labels_required = false}),
        bundle_(make_bundle(dataset_.card(), models::ParticleNetOptions::lite())),
        predictor_(Predictor::load(folder_.write(bundle_))) {
    raw_ = data::read_raw_jets(file_, dataset_.card(), kRows);
    expected_ = evaluate(256, kRows);
  }

  std::string find_file() const {
    if (*GetParam().file != 0) return std::string(BUNCHTRAIN_TEST_DATA) + "/jets/" + GetParam().file;
    const auto file = folder_.path() / "toy_jets.h5";
    simulate::write_toy_jets(file, {.count = kRows});
    return file.string();
  }

  /// As jet_tagging::evaluate does it, of the first rows: the loader's batches, softmax in double.
  std::vector<std::vector<double>> evaluate(std::int64_t batch_size, std::int64_t rows_asked) {
    const auto network = models::create_from(bundle_.model);
    weights::load_into(*network, bundle_.weights, "bundle");
    network->eval();
    const at::NoGradGuard no_gradients;
    data::DataLoader loader(dataset_.all(), {.global_batch = batch_size, .shuffle = false});
    std::vector<std::vector<double>> rows(static_cast<std::size_t>(rows_asked));
    const auto places = dataset_.rows_of(*dataset_.all());
    for (std::size_t next = 0; next < places.size() && places[next].row < rows_asked;) {
      const auto batch = loader.next();
      const at::Tensor scores =
          at::softmax(nn::as_model(*network)->forward(batch->tensors)["logits"].to(at::kDouble), 1);
      for (std::int64_t i = 0; next < places.size() && i < scores.size(0) && places[next].row < rows_asked;
           ++i, ++next) {
        const double* row = scores.const_data_ptr<double>() + i * scores.size(1);
        rows[static_cast<std::size_t>(places[next].row)].assign(row, row + scores.size(1));
      }
    }
    return rows;
  }

  /// Each thread its part, in calls of a few jets.
  std::vector<double> score_in_pieces(const Predictor& predictor, const RawJets& jets, int threads) const {
    const std::size_t width = predictor.outputs().size();
    std::vector<double> scores(static_cast<std::size_t>(jets.count) * width, -1);
    std::vector<std::jthread> callers;
    for (int t = 0; t < threads; ++t)
      callers.emplace_back([&, t] {
        Scratch scratch = predictor.make_scratch();
        std::vector<RawColumn> views;
        const std::int64_t end = jets.count * (t + 1) / threads;
        for (std::int64_t jet = jets.count * t / threads, count = 1 + t; jet < end;
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
    expect_equal(scores, expected_, tolerance);
  }
  void expect_equal(std::span<const double> scores, const std::vector<std::vector<double>>& expected,
                    double tolerance) const {
    const std::size_t width = predictor_.outputs().size();
    std::size_t compared = 0;
    for (std::size_t i = 0; i < scores.size() / width; ++i) {
      const auto& row = expected[i];
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

/// One jet at a time, as an evaluation with batches of one: the same bits however calls are cut.
TEST_P(LayoutsTest, BatchesOfOneHaveTheSameBitsInAnySplit) {
  const Predictor alone = Predictor::load(folder_.path() / "net", {.batch = 1});
  const auto expected = evaluate(1, kRowsAlone);
  Columns columns(raw_, predictor_.inputs());
  std::vector<RawColumn> views;
  const RawJets jets = part(columns.jets(), views, 0, kRowsAlone);
  for (const int threads : {1, 3, 8}) expect_equal(score_in_pieces(alone, jets, threads), expected, 0);
}

TEST_P(LayoutsTest, JetsWithoutTheirPaddingScoreTheSame) {
  std::vector<std::int64_t> rows(kRows);
  std::iota(rows.begin(), rows.end(), 0);
  const auto trimmed = detail::real_jets(*predictor_.card(), predictor_.inputs(), raw_, rows);
  std::vector<double> scores(kRows * predictor_.outputs().size());
  Scratch scratch = predictor_.make_scratch();
  predictor_.run(trimmed->jets(), scores, scratch);
  expect_equal(scores);
}

INSTANTIATE_TEST_SUITE_P(Cards, LayoutsTest,
                         ::testing::Values(Layout{"top_tagging", "toptagging_val.h5"},
                                           Layout{"quark_gluon", "quark_gluon.h5"},
                                           Layout{"jetnet", "cms_ttbar_ak4_jets.h5"},
                                           Layout{"cms_btag", "cms_ttbar_ak4_jets.h5"},
                                           Layout{"upp", "upp_like_jets.h5"},
                                           Layout{"spanet", "spanet_like_jets.h5"}, Layout{"toy_jets", ""}),
                         [](const auto& info) { return std::string(info.param.card); });

}  // namespace
}  // namespace bunchtrain::infer::test
