// SPDX-License-Identifier: Apache-2.0
// A producer of CMSSW: the predictor is the global cache, one per process, the scratch belongs to a stream.
#pragma once

#include <bunchtrain/infer/fast_predictor.hpp>
#include <memory>
#include <vector>

#include "../embed_events.hpp"
#include "framework.hpp"

class JetTagProducer : public edm::stream::EDProducer<edm::GlobalCache<bunchtrain::infer::FastPredictor>> {
 public:
  using Tagger = bunchtrain::infer::FastPredictor;

  JetTagProducer(const edm::ParameterSet& parameters, const Tagger* tagger)
      : tagger_(*tagger),
        scratch_(tagger->make_scratch()),
        jets_(consumes<embed::Event>({parameters.getParameter<std::string>("jets")})),
        score_(produces<double>("score")) {}

  static std::unique_ptr<Tagger> initializeGlobalCache(const edm::ParameterSet& parameters) {
    return std::make_unique<Tagger>(Tagger::load(parameters.getParameter<std::string>("bundle")));
  }
  static void globalEndJob(const Tagger*) {}

  void produce(edm::Event& event, const edm::EventSetup&) override {
    event.emplace(score_, embed::score(event.get(jets_), tagger_, scratch_));
  }

 private:
  const Tagger& tagger_;
  Tagger::Scratch scratch_;
  edm::EDGetTokenT<embed::Event> jets_;
  edm::EDPutTokenT<double> score_;
};
