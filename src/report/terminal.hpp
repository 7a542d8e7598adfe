// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What standard output really is, also behind mpirun.

namespace bunchtrain::report {

struct Terminal {
  bool interactive = false;
  int width = 80;
  bool unicode = true;
};

/// Open MPI gives its ranks a pseudo-terminal even if mpirun itself writes to a file, so below a launcher it
/// is the launcher's output that counts.
Terminal observe_standard_output();

}  // namespace bunchtrain::report
