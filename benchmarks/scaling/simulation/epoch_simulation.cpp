// SPDX-License-Identifier: Apache-2.0
// Invariant: events are handled in the order of their times, those of one time in the order in which they were made, so
// that a prediction is a pure function of machine, ranks and seed.
#include "epoch_simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <queue>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/parallel/layout_plan.hpp"

namespace scaling {

namespace bt = bunchtrain;

namespace {

/// Places in a step's computing at which a rank issues or needs something.
std::vector<double> cuts_of(const Machine& machine) {
  std::vector<double> cuts = {1};
  for (const Collective& collective : machine.collectives) {
    cuts.push_back(collective.issued);
    cuts.push_back(collective.needed);
  }
  std::ranges::sort(cuts);
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

/// One collective of the step that is being played.
struct Sum {
  int issued_by = 0;       ///< so many replicas
  double last_issued = 0;  ///< by the last of them
  double begin = 0, end = -1;
  bool done = false;
};

struct Replica {
  double factor = 1;         ///< of this step's computing
  std::size_t cut = 0;       ///< the next one
  double asked = 0;          ///< since when it waits for its batch or a sum
  std::int64_t taken = 0;    ///< batches
  std::int64_t made = 0;     ///< by its loader
  std::int64_t ordered = 0;  ///< from its loader
  bool waits_for_batch = false, waits_for_sum = false;
};

enum class What { asked, served, loaded, computed, summed };

struct Event {
  double time;
  std::uint64_t order;
  What what;
  int which;  ///< replica, or collective
  bool operator>(const Event& other) const noexcept {
    return time != other.time ? time > other.time : order > other.order;
  }
};

class Player {
 public:
  Player(const Machine& machine, int replicas, int ranks, std::uint64_t seed)
      : machine_(machine),
        cuts_(cuts_of(machine)),
        random_(seed, 0),
        replicas_(static_cast<std::size_t>(replicas)),
        steps_((machine.samples + machine.batch * replicas - 1) / (machine.batch * replicas)),
        compute_(machine.seconds_per_step + machine.seconds_per_sample * static_cast<double>(machine.batch)) {
    for (const Collective& collective : machine.collectives)
      durations_.push_back(sum_seconds(machine, ranks, collective.bytes));
  }

  Epoch play() {
    begin_step();
    for (int i = 0; i < size(); ++i) take_batch(i, 0);
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      handle(event);
    }
    Epoch epoch{.ranks = 0, .steps = steps_, .seconds = now_, .step = {}};
    const double shares = static_cast<double>(steps_) * size();
    epoch.step.compute = totals_.compute / shares;
    epoch.step.communication = totals_.communication / shares;
    epoch.step.data = totals_.data / shares;
    epoch.step.idle = std::max(0.0, epoch.seconds / static_cast<double>(steps_) - epoch.step.total());
    return epoch;
  }

 private:
  int size() const noexcept { return static_cast<int>(replicas_.size()); }

  void add(double time, What what, int which) { events_.push({time, order_++, what, which}); }

  void handle(const Event& event) {
    switch (event.what) {
      case What::asked:
        serve(event.which);
        break;
      case What::served:
        add(now_ + machine_.loader.seconds_per_sample * static_cast<double>(machine_.batch), What::loaded,
            event.which);
        break;
      case What::loaded:
        loaded(event.which);
        break;
      case What::computed:
        reach_cut(event.which);
        break;
      case What::summed:
        summed(static_cast<std::size_t>(event.which));
        break;
    }
  }

  void begin_step() {
    sums_.assign(machine_.collectives.size(), {});
    finished_ = 0;
  }

  // The loader: one batch at a time for each replica, from a source that serves in the order of asking.

  void order_batches(int i) {
    Replica& replica = replicas_[static_cast<std::size_t>(i)];
    const bool busy = replica.ordered > replica.made;
    const std::int64_t wanted = replica.taken + machine_.loader.prefetch + (replica.waits_for_batch ? 1 : 0);
    if (busy || replica.ordered >= steps_ || replica.ordered >= wanted) return;
    ++replica.ordered;
    add(now_, What::asked, i);
  }

  void serve(int i) {
    source_free_ = std::max(source_free_, now_) +
                   static_cast<double>(machine_.batch) / machine_.loader.samples_per_second;
    add(source_free_, What::served, i);
  }

  void loaded(int i) {
    Replica& replica = replicas_[static_cast<std::size_t>(i)];
    ++replica.made;
    if (replica.waits_for_batch) {
      replica.waits_for_batch = false;
      totals_.data += now_ - replica.asked;
      start(i);
    }
    order_batches(i);
  }

  void take_batch(int i, double when) {
    Replica& replica = replicas_[static_cast<std::size_t>(i)];
    replica.asked = when;
    if (replica.made > replica.taken) return start(i);
    replica.waits_for_batch = true;
    order_batches(i);
  }

  // Computing, cut where something is issued or needed.

  void start(int i) {
    Replica& replica = replicas_[static_cast<std::size_t>(i)];
    const auto draw = static_cast<std::uint64_t>(replica.taken * size() + i);
    ++replica.taken;
    order_batches(i);
    const double spread = machine_.stragglers.spread;
    replica.factor = std::exp(spread * random_.normal(draw) - spread * spread / 2) *
                     (i < machine_.stragglers.slow_ranks ? machine_.stragglers.slow_factor : 1);
    replica.cut = 0;
    compute(i);
  }

  void compute(int i) {
    const Replica& replica = replicas_[static_cast<std::size_t>(i)];
    const double share = cuts_[replica.cut] - (replica.cut > 0 ? cuts_[replica.cut - 1] : 0);
    const double seconds = share * compute_ * replica.factor;
    totals_.compute += seconds;
    add(now_ + seconds, What::computed, i);
  }

  void reach_cut(int i) {
    Replica& replica = replicas_[static_cast<std::size_t>(i)];
    for (std::size_t c = 0; c < sums_.size(); ++c)
      if (machine_.collectives[c].issued == cuts_[replica.cut]) issue(c);
    replica.asked = now_;
    go_on(i);
  }

  void issue(std::size_t c) {
    sums_[c].last_issued = now_;
    if (++sums_[c].issued_by == size()) launch();
  }

  /// Sums follow each other in their order, each when all have issued it.
  void launch() {
    for (std::size_t c = 0; c < sums_.size(); ++c) {
      if (sums_[c].issued_by < size()) return;
      if (sums_[c].end >= 0) continue;
      sums_[c].begin = std::max(now_, c > 0 ? sums_[c - 1].end : 0);
      sums_[c].end = sums_[c].begin + durations_[c];
      add(sums_[c].end, What::summed, static_cast<int>(c));
    }
  }

  /// Goes on from a cut unless a sum is missing that is needed there.
  void go_on(int i) {
    Replica& replica = replicas_[static_cast<std::size_t>(i)];
    for (std::size_t c = 0; c < sums_.size(); ++c)
      if (machine_.collectives[c].needed == cuts_[replica.cut] && !sums_[c].done) {
        replica.waits_for_sum = true;
        return;
      }
    if (++replica.cut < cuts_.size()) return compute(i);
    finish_step();
  }

  void summed(std::size_t c) {
    sums_[c].done = true;
    for (int i = 0; i < size(); ++i) {
      Replica& replica = replicas_[static_cast<std::size_t>(i)];
      if (!replica.waits_for_sum || machine_.collectives[c].needed != cuts_[replica.cut]) continue;
      // Until the last replica has issued it a replica waits for others: that is not communication.
      totals_.communication += now_ - std::max({replica.asked, sums_[c].begin});
      replica.asked = now_;
      replica.waits_for_sum = false;
      go_on(i);
    }
  }

  /// Replicas meet at the end of a step: at a sum that is needed there, or because nothing else holds them together.
  void finish_step() {
    if (++finished_ < size()) return;
    begin_step();
    for (int i = 0; i < size(); ++i)
      if (replicas_[static_cast<std::size_t>(i)].taken < steps_) take_batch(i, now_);
  }

  const Machine& machine_;
  std::vector<double> cuts_, durations_;
  bt::CounterRandom random_;
  std::vector<Replica> replicas_;
  std::vector<Sum> sums_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  StepTime totals_;  ///< over replicas and steps
  std::int64_t steps_;
  double compute_;
  double now_ = 0, source_free_ = 0;
  std::uint64_t order_ = 0;
  int finished_ = 0;  ///< replicas, with this step
};

double ring(const Link& link, int members, double bytes) {
  return 2 * (members - 1) * (link.latency_seconds + bytes / members / link.bytes_per_second);
}

double tree(const Link& link, int members, double bytes) {
  return 2 * std::ceil(std::log2(members)) * link.latency_seconds + 2 * bytes / link.bytes_per_second;
}

double fastest(const Link& link, int members, double bytes) {
  return members < 2 ? 0 : std::min(ring(link, members, bytes), tree(link, members, bytes));
}

}  // namespace

double sum_seconds(const Machine& machine, int ranks, double bytes) {
  const int nodes = nodes_of(machine, ranks);
  const int members = (ranks + nodes - 1) / nodes;
  return fastest(machine.inside, members, bytes) + fastest(machine.between, nodes, bytes);
}

Epoch simulate_epoch(const Machine& machine, int ranks, std::uint64_t seed) {
  Epoch epoch = Player(machine, ranks / machine.stages.pipeline, ranks, seed).play();
  epoch.ranks = ranks;
  return epoch;
}

Machine calibrated(Machine machine, std::uint64_t seed) {
  const KnownEpoch wanted = machine.calibration;
  if (wanted.ranks == 0) return machine;
  double low = 0, high = wanted.seconds;
  machine.seconds_per_step = low;
  if (simulate_epoch(machine, wanted.ranks, seed).seconds > wanted.seconds)
    throw bt::ConfigError("calibration.seconds", fmt::format("{:g}", wanted.seconds),
                          "more than communication and loading alone take");
  for (int i = 0; i < 60; ++i) {
    machine.seconds_per_step = (low + high) / 2;
    (simulate_epoch(machine, wanted.ranks, seed).seconds < wanted.seconds ? low : high) =
        machine.seconds_per_step;
  }
  return machine;
}

Machine staged(Machine machine) {
  if (machine.stages.pipeline == 1) return machine;
  namespace parallel = bt::parallel;
  const auto& wanted = machine.stages;
  const parallel::LayoutQuestion question{
      .profile = parallel::parse_unit_profile(bt::read_text_file(wanted.profile), wanted.profile.string()),
      .ranks = wanted.pipeline,
      .batch = machine.batch,
      .bandwidth = machine.inside.bytes_per_second};
  for (const parallel::Layout& layout : parallel::plan_layouts(question)) {
    if (layout.pipeline != wanted.pipeline || parallel::to_string(layout.kind) != wanted.schedule ||
        (wanted.microbatches != 0 && layout.microbatches != wanted.microbatches))
      continue;
    machine.seconds_per_step = layout.step_seconds;
    machine.seconds_per_sample = 0;
    machine.stages.microbatches = layout.microbatches;
    return machine;
  }
  throw bt::ConfigError(
      "stages",
      fmt::format("{} of {}, {} microbatches", wanted.pipeline, wanted.schedule, wanted.microbatches),
      "a layout of the profile's network that `bunchtrain plan` lists");
}

}  // namespace scaling
