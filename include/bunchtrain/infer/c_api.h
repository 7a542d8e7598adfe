/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BUNCHTRAIN_INFER_C_API_H
#define BUNCHTRAIN_INFER_C_API_H
/** FastPredictor for C, and for Fortran through iso_c_binding. Ten functions, two opaque handles.
 *
 * Functions that can fail give a bunchtrain_status; what went wrong is told by bunchtrain_last_error() of the same
 * thread. No exception leaves them. A null handle or pointer is refused, not followed.
 */

#include <stdint.h>

/* Names are those of C. NOLINTBEGIN(readability-identifier-naming) */

#ifdef __cplusplus
extern "C" {
#endif

enum bunchtrain_status {
  BUNCHTRAIN_OK = 0,
  BUNCHTRAIN_BAD_ARGUMENT = 1, /**< a column that is missing, too short, of another unit; a null pointer */
  BUNCHTRAIN_BAD_DATA = 2,     /**< a raw value that is not finite */
  BUNCHTRAIN_BAD_BUNDLE = 3,   /**< missing, damaged, newer, of another network */
  BUNCHTRAIN_FAILED = 4        /**< anything else: no memory, a file that cannot be read */
};

/** A network, its weights and the features of its card. Any number of threads may use one at once. */
typedef struct bunchtrain_predictor bunchtrain_predictor;
/** Memory of one caller: one thread at a time. */
typedef struct bunchtrain_scratch bunchtrain_scratch;

/** A raw column where it lies, as bunchtrain::infer::RawColumn: floats or doubles, the other is null. */
typedef struct bunchtrain_column {
  const char* name;        /**< "part.px" */
  const char* unit;        /**< null, or that of bunchtrain_input */
  const float* floats;     /**< these, or */
  const double* doubles;   /**< these */
  int64_t count;           /**< how many lie there */
  int64_t jet_stride;      /**< in values; 0: dense */
  int64_t particle_stride; /**< in values; 0 stands for 1 */
} bunchtrain_column;

/** Some jets, as bunchtrain::infer::RawJets. Nothing is owned. */
typedef struct bunchtrain_jets {
  int64_t count;
  int64_t slots;             /**< particle slots of each jet, unless there are row splits */
  const int64_t* row_splits; /**< null, or [count + 1] of ragged jets */
  const int64_t* particles;  /**< null, or [count]: how many of a jet's slots are taken */
  const bunchtrain_column* columns;
  int64_t column_count;
} bunchtrain_jets;

/** Reads a bundle: once per process. `*predictor` is null if it fails. */
int bunchtrain_load(const char* bundle, bunchtrain_predictor** predictor);
/** Scratches that it made stay usable. Null is allowed. */
void bunchtrain_free(bunchtrain_predictor* predictor);

/** How many raw columns are needed; 0 of a null predictor. */
int64_t bunchtrain_input_count(const bunchtrain_predictor* predictor);
/** One of them; null beyond the last. `unit` is "" if the card says none; it and `of_particles` may be null pointers. Texts
 * live as long as the predictor. */
const char* bunchtrain_input(const bunchtrain_predictor* predictor, int64_t index, const char** unit,
                             int* of_particles);
/** Scores of a jet: the classes, then what heads estimate; 0 of a null predictor. */
int64_t bunchtrain_output_count(const bunchtrain_predictor* predictor);
/** The name of one; null beyond the last. */
const char* bunchtrain_output(const bunchtrain_predictor* predictor, int64_t index);

/** `*scratch` is null if it fails. */
int bunchtrain_make_scratch(const bunchtrain_predictor* predictor, bunchtrain_scratch** scratch);
/** Null is allowed. */
void bunchtrain_free_scratch(bunchtrain_scratch* scratch);

/** Scores jets: `scores` is [jets->count, bunchtrain_output_count()], row-major, undefined if it fails. */
int bunchtrain_score(const bunchtrain_predictor* predictor, const bunchtrain_jets* jets, double* scores,
                     bunchtrain_scratch* scratch);

/** Of the last call of this thread that failed; "" if none did. Valid until the thread's next failing call. */
const char* bunchtrain_last_error(void);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming) */

#endif
