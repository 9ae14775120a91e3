/* Labels texts with a fine-tuned model, from C: predict_c FOLDER TEXT... */
#include <graft/graft.h>
#include <stdio.h>

int main(int argc, char** argv) {
  graft_pipeline* classify = graft_load(argc > 1 ? argv[1] : "./results");
  if (classify == NULL) {
    fprintf(stderr, "error: %s\n", graft_last_error());
    return 1;
  }
  int failures = 0;
  for (int i = 2; i < argc; ++i) {
    graft_prediction best;
    if (graft_predict(classify, argv[i], &best) == GRAFT_OK) {
      printf("%s\t%.4f\t%s\n", best.label, best.score, argv[i]);
    } else {
      fprintf(stderr, "error: %s\n", graft_last_error());
      ++failures;
    }
  }
  graft_free(classify);
  return failures > 0;
}
