// SPDX-License-Identifier: Apache-2.0
// Stands for cmsRun: streams on threads of their own, each with an instance of the producer, share its global cache.
//
//   embed_cmssw BUNDLE [STREAMS]
//
// The scores are those of embed_threads.

#include <algorithm>
#include <atomic>
#include <bunchtrain/core/error.hpp>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "jet_tag_producer.hpp"

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "embed_cmssw BUNDLE [STREAMS]\n");
    return 2;
  }
  try {
    edm::ParameterSet parameters;
    parameters.set("bundle", argv[1]);
    parameters.set("jets", "jets");
    const auto cache = JetTagProducer::initializeGlobalCache(parameters);
    std::vector<double> scores(embed::kEvents);
    std::atomic<std::int64_t> next = 0;
    {
      std::vector<std::jthread> streams;
      for (int stream = 0; stream < (argc == 3 ? std::max(1, std::atoi(argv[2])) : 4); ++stream)
        streams.emplace_back([&] {
          JetTagProducer producer(parameters, cache.get());
          for (std::int64_t number = next++; number < embed::kEvents; number = next++) {
            edm::Event event;
            event.emplace(edm::EDPutTokenT<embed::Event>{"jets"}, embed::read_event(number));
            producer.produce(event, {});
            scores[static_cast<std::size_t>(number)] = event.get(edm::EDGetTokenT<double>{"score"});
          }
        });
    }
    JetTagProducer::globalEndJob(cache.get());
    for (const double score : scores) std::printf("%.17g\n", score);
    return 0;
  } catch (const bunchtrain::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
