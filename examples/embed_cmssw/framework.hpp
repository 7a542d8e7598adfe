// SPDX-License-Identifier: Apache-2.0
// Stand-ins for the few names of CMSSW's framework that the producer uses, so that it compiles and runs here. In CMSSW
// delete this file and include FWCore/Framework/interface/stream/EDProducer.h and its like.
#pragma once

#include <any>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace edm {

class ParameterSet {
 public:
  void set(const std::string& name, std::string value) { values_[name] = std::move(value); }
  template <class T>
  T getParameter(const std::string& name) const {
    return values_.at(name);
  }

 private:
  std::map<std::string, std::string> values_;
};

template <class T>
struct EDGetTokenT {
  std::string label;
};
template <class T>
struct EDPutTokenT {
  std::string label;
};
struct InputTag {
  std::string label;
};

class Event {
 public:
  template <class T>
  const T& get(const EDGetTokenT<T>& token) const {
    return *std::any_cast<const T>(&products_.at(token.label));
  }
  template <class T>
  void emplace(const EDPutTokenT<T>& token, T product) {
    products_[token.label] = std::move(product);
  }

 private:
  std::map<std::string, std::any> products_;
};

class EventSetup {};

template <class T>
struct GlobalCache {
  using Type = T;
};

namespace stream {

/// One instance per stream; streams share the cache.
template <class Cache>
class EDProducer {
 public:
  virtual ~EDProducer() = default;
  virtual void produce(Event& event, const EventSetup& setup) = 0;

 protected:
  template <class T>
  EDGetTokenT<T> consumes(const InputTag& tag) {
    return {tag.label};
  }
  template <class T>
  EDPutTokenT<T> produces(const std::string& label) {
    return {label};
  }
};

}  // namespace stream
}  // namespace edm
