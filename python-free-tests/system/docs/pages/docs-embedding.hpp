#include <bunchtrain/infer/raw_jets.hpp>
#include <vector>

const std::vector<float> px, py, pz, e;
const bunchtrain::infer::RawJets jets;
std::vector<double> scores;
