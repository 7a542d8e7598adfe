#include <bunchtrain/infer/c_api.h>

#include <bunchtrain/infer/raw_jets.hpp>
#include <cstdio>
#include <string>
#include <vector>

const std::vector<float> px, py, pz, e;
const bunchtrain::infer::RawJets jets;
std::vector<double> scores;
bunchtrain_jets event;
double event_scores[8];
const std::vector<float> latents;
const std::size_t count = 0;
inline void report(const std::string&) {}
const int communicator = 0;
