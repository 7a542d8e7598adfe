/* SPDX-License-Identifier: Apache-2.0 */
/* A tagger inside a program in C:
 *
 *   embed_c BUNDLE
 *
 * The bundle's network needs part.px, part.py, part.pz and part.e (that of top_tagging does). */

#include <bunchtrain/infer/c_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { kJets = 40, kSlots = 40 };

/* Particles in slots, of a column each; where nothing is, 0. */
static float px[kJets * kSlots], py[kJets * kSlots], pz[kJets * kSlots], e[kJets * kSlots];

/* Stands for what a program has. */
static void fill_jets(void) {
  for (int jet = 0; jet < kJets; ++jet)
    for (int p = 0; p <= jet; ++p) {
      const double pt = 100 * pow(0.9, p), phi = 0.4 * sin(3 * p + jet), eta = 0.4 * cos(5 * p);
      const int i = jet * kSlots + p;
      px[i] = (float)(pt * cos(phi));
      py[i] = (float)(pt * sin(phi));
      pz[i] = (float)(pt * sinh(eta));
      e[i] = (float)(pt * cosh(eta));
    }
}

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, bunchtrain_last_error());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "embed_c BUNDLE\n");
    return 2;
  }
  bunchtrain_predictor* tagger = NULL;
  bunchtrain_scratch* scratch = NULL;
  if (bunchtrain_load(argv[1], &tagger) != BUNCHTRAIN_OK) return fail("load");
  if (bunchtrain_make_scratch(tagger, &scratch) != BUNCHTRAIN_OK) return fail("make_scratch");

  fill_jets();
  const bunchtrain_column columns[] = {
      {.name = "part.px", .floats = px, .count = kJets * kSlots},
      {.name = "part.py", .floats = py, .count = kJets * kSlots},
      {.name = "part.pz", .floats = pz, .count = kJets * kSlots},
      {.name = "part.e", .unit = "GeV", .floats = e, .count = kJets * kSlots}};
  const bunchtrain_jets jets = {.count = kJets, .slots = kSlots, .columns = columns, .column_count = 4};
  const int64_t width = bunchtrain_output_count(tagger);
  double* scores = malloc((size_t)(kJets * width) * sizeof *scores);
  if (!scores || bunchtrain_score(tagger, &jets, scores, scratch) != BUNCHTRAIN_OK) return fail("score");
  for (int64_t i = 0; i < kJets * width; ++i) printf("%.17g\n", scores[i]);

  free(scores);
  bunchtrain_free_scratch(scratch);
  bunchtrain_free(tagger);
  return 0;
}
