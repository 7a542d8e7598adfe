#include <bunchtrain/data/data_loader.hpp>
#include <bunchtrain/data/hit_dataset.hpp>

#include <cstdio>

namespace bt = bunchtrain;
extern const bunchtrain::mpi::Comm& comm;
