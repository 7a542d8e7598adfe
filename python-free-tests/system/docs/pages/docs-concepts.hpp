extern const bunchtrain::mpi::Comm& comm;
