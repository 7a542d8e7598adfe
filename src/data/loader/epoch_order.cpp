// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/epoch_order.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <queue>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "index_permutation.hpp"

namespace bunchtrain::data {
namespace {

// Keeps these numbers apart from those of dropout, noise, ...
constexpr std::uint64_t kOrderStream = 0x6f72646572;

// Consecutive chunks of one stream whose samples are mixed.
struct Window {
  std::int64_t begin;  // first sample index within the stream
  std::int64_t size;
  std::uint64_t key;
};

struct Stream {
  std::vector<std::size_t> chunks;         // in reading order
  std::vector<std::int64_t> chunk_begins;  // sample index within the stream, one more entry than chunks
  std::vector<Window> windows;
  std::int64_t size() const { return chunk_begins.back(); }
};

// Rounds in which the same streams still have samples: each takes one position per round.
struct Stage {
  std::int64_t first_position;
  std::int64_t first_round;
  std::vector<std::size_t> streams;
};

template <class Entries, class Value, class Key>
std::size_t last_not_above(const Entries& entries, Value value, Key key) {
  const auto after = std::upper_bound(entries.begin(), entries.end(), value,
                                      [&](Value v, const auto& entry) { return v < key(entry); });
  return static_cast<std::size_t>(after - entries.begin()) - 1;
}

std::vector<std::size_t> shuffled_chunks(std::span<const SampleRange> ranges, const CounterRandom& random,
                                         bool shuffle) {
  std::vector<std::size_t> chunks;
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (ranges[i].count > 0) chunks.push_back(i);
  if (!shuffle) return chunks;
  RandomSequence sequence(random.child(0));
  for (std::size_t i = chunks.size(); i > 1; --i) std::swap(chunks[i - 1], chunks[sequence.below(i)]);
  return chunks;
}

// Each chunk goes to the shortest stream so far, so that streams end within one chunk of each other.
std::vector<Stream> deal(std::span<const SampleRange> ranges, const std::vector<std::size_t>& chunks,
                         std::size_t count) {
  std::vector<Stream> streams(count);
  using Load = std::pair<std::int64_t, std::size_t>;
  std::priority_queue<Load, std::vector<Load>, std::greater<>> shortest;
  for (std::size_t s = 0; s < count; ++s) {
    streams[s].chunk_begins.push_back(0);
    shortest.push({0, s});
  }
  for (const auto chunk : chunks) {
    auto [samples, s] = shortest.top();
    shortest.pop();
    samples += ranges[chunk].count;
    streams[s].chunks.push_back(chunk);
    streams[s].chunk_begins.push_back(samples);
    shortest.push({samples, s});
  }
  return streams;
}

// Windows double from `first_target` up to `target`: the first batch then waits for few chunks
// only, and because streams begin with different sizes, later windows open at different times, so
// that reading stays even.
void cut_windows(Stream& stream, std::int64_t first_target, std::int64_t target,
                 const CounterRandom& random) {
  std::int64_t wanted = first_target;
  std::int64_t begin = 0;
  for (std::size_t i = 1; i < stream.chunk_begins.size(); ++i) {
    const std::int64_t size = stream.chunk_begins[i] - begin;
    const bool last = i + 1 == stream.chunk_begins.size();
    if (size < wanted && !last) continue;
    if (last && 2 * size < target && !stream.windows.empty()) {
      stream.windows.back().size += size;  // too little to be mixed by itself
    } else {
      stream.windows.push_back({begin, size, random.bits(stream.windows.size())});
    }
    begin = stream.chunk_begins[i];
    wanted = std::min(2 * wanted, target);
  }
}

std::vector<Stage> make_stages(const std::vector<Stream>& streams) {
  std::vector<std::int64_t> ends;
  for (const auto& stream : streams) ends.push_back(stream.size());
  std::sort(ends.begin(), ends.end());
  std::vector<Stage> stages;
  std::int64_t position = 0;
  std::int64_t round = 0;
  for (const auto end : ends) {
    if (end == round) continue;
    Stage stage{.first_position = position, .first_round = round, .streams = {}};
    for (std::size_t s = 0; s < streams.size(); ++s)
      if (streams[s].size() > round) stage.streams.push_back(s);
    position += (end - round) * static_cast<std::int64_t>(stage.streams.size());
    round = end;
    stages.push_back(std::move(stage));
  }
  return stages;
}

}  // namespace

struct EpochOrder::Impl {
  std::vector<SampleRange> ranges;
  std::vector<Stream> streams;
  std::vector<Stage> stages;
  std::vector<std::size_t> reading_order;
  std::vector<Residence> residences;  // by range
  std::int64_t size = 0;
  bool shuffle = true;

  std::int64_t position_of(std::size_t stream, std::int64_t index) const;
  void find_residences();
};

EpochOrder::EpochOrder(std::span<const SampleRange> ranges, const Options& options)
    : impl_(std::make_unique<Impl>()) {
  expects(options.streams > 0, fmt::format("streams is {}, must be positive", options.streams));
  expects(options.window_samples >= 0,
          fmt::format("window_samples is {}, must not be negative", options.window_samples));
  const CounterRandom random =
      CounterRandom(options.seed, kOrderStream).child(static_cast<std::uint64_t>(options.epoch));
  impl_->ranges.assign(ranges.begin(), ranges.end());
  impl_->shuffle = options.shuffle;
  for (const auto& range : ranges) impl_->size += range.count;

  const auto chunks = shuffled_chunks(ranges, random, options.shuffle);
  const auto wanted = options.shuffle ? static_cast<std::size_t>(options.streams) : 1;
  const std::size_t count = std::max<std::size_t>(std::min(wanted, chunks.size()), 1);
  impl_->streams = deal(ranges, chunks, count);
  const std::int64_t window = !options.shuffle              ? 1
                              : options.window_samples == 0 ? impl_->size
                                                            : options.window_samples;
  const auto per_stream = std::max<std::int64_t>(window / static_cast<std::int64_t>(count), 1);
  for (std::size_t s = 0; s < count; ++s) {
    const auto first = per_stream * static_cast<std::int64_t>(s + 1) / static_cast<std::int64_t>(count);
    cut_windows(impl_->streams[s], window >= impl_->size ? impl_->size : first, per_stream,
                random.child(s + 1));
  }
  impl_->stages = make_stages(impl_->streams);
  impl_->find_residences();
}

EpochOrder::~EpochOrder() = default;
EpochOrder::EpochOrder(EpochOrder&&) noexcept = default;
EpochOrder& EpochOrder::operator=(EpochOrder&&) noexcept = default;

std::int64_t EpochOrder::size() const noexcept { return impl_->size; }
std::int64_t EpochOrder::streams() const noexcept { return static_cast<std::int64_t>(impl_->streams.size()); }
std::span<const std::size_t> EpochOrder::reading_order() const noexcept { return impl_->reading_order; }
EpochOrder::Residence EpochOrder::residence(std::size_t range) const { return impl_->residences.at(range); }

std::int64_t EpochOrder::operator[](std::int64_t position) const {
  const auto& stages = impl_->stages;
  const Stage& stage =
      stages[last_not_above(stages, position, [](const Stage& s) { return s.first_position; })];
  const auto active = static_cast<std::int64_t>(stage.streams.size());
  const std::int64_t offset = position - stage.first_position;
  const Stream& stream = impl_->streams[stage.streams[static_cast<std::size_t>(offset % active)]];
  std::int64_t index = stage.first_round + offset / active;

  if (impl_->shuffle) {
    const Window& window =
        stream.windows[last_not_above(stream.windows, index, [](const Window& w) { return w.begin; })];
    const IndexPermutation permutation(static_cast<std::uint64_t>(window.size), window.key);
    index = window.begin +
            static_cast<std::int64_t>(permutation(static_cast<std::uint64_t>(index - window.begin)));
  }
  const auto slot = last_not_above(stream.chunk_begins, index, [](std::int64_t begin) { return begin; });
  return impl_->ranges[stream.chunks[slot]].first + (index - stream.chunk_begins[slot]);
}

std::int64_t EpochOrder::Impl::position_of(std::size_t stream, std::int64_t index) const {
  const Stage& stage = stages[last_not_above(stages, index, [](const Stage& s) { return s.first_round; })];
  const auto place =
      std::lower_bound(stage.streams.begin(), stage.streams.end(), stream) - stage.streams.begin();
  return stage.first_position +
         (index - stage.first_round) * static_cast<std::int64_t>(stage.streams.size()) + place;
}

void EpochOrder::Impl::find_residences() {
  residences.resize(ranges.size(), Residence{.stream = -1, .first = 0, .last = -1});
  for (std::size_t s = 0; s < streams.size(); ++s) {
    const Stream& stream = streams[s];
    for (std::size_t slot = 0; slot < stream.chunks.size(); ++slot) {
      const auto begin = stream.chunk_begins[slot];
      const Window& window =
          stream.windows[last_not_above(stream.windows, begin, [](const Window& w) { return w.begin; })];
      residences[stream.chunks[slot]] = {.stream = static_cast<std::int64_t>(s),
                                         .first = position_of(s, window.begin),
                                         .last = position_of(s, window.begin + window.size - 1)};
      reading_order.push_back(stream.chunks[slot]);
    }
  }
  std::stable_sort(reading_order.begin(), reading_order.end(),
                   [&](std::size_t a, std::size_t b) { return residences[a].first < residences[b].first; });
}

EpochOrder::Options choose_order(std::span<const SampleRange> ranges, std::int64_t sample_bytes,
                                 std::int64_t global_batch) {
  constexpr std::int64_t kWindowBytes = std::int64_t{128} << 20;
  constexpr std::int64_t kPreferredWindow = 65536;
  const auto affordable = kWindowBytes / std::max<std::int64_t>(sample_bytes, 1);
  const auto preferred = std::max(8 * global_batch, kPreferredWindow);

  EpochOrder::Options options;
  options.window_samples = std::max(2 * global_batch, std::min(preferred, affordable));
  // Every stream holds at least one chunk in memory; numbers of streams that many world sizes divide.
  std::int64_t largest_chunk = 1;
  for (const auto& range : ranges) largest_chunk = std::max(largest_chunk, range.count);
  const auto fitting = std::min<std::int64_t>(options.window_samples / largest_chunk,
                                              static_cast<std::int64_t>(ranges.size()) / 2);
  options.streams = 1;
  for (const std::int64_t candidate : {2, 4, 8, 12, 24, 48})
    if (candidate <= fitting) options.streams = candidate;
  return options;
}

}  // namespace bunchtrain::data
