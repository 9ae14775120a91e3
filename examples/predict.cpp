// Labels texts with a fine-tuned model: predict FOLDER TEXT...
#include <cstdio>

#include "graft/error.h"
#include "graft/pipeline.h"

int main(int argc, char** argv) try {
  const graft::Pipeline classify(argc > 1 ? argv[1] : "./results");
  for (int i = 2; i < argc; ++i) {
    const graft::Prediction best = classify(argv[i]);
    std::printf("%s\t%.4f\t%s\n", best.label.c_str(), best.score, argv[i]);
  }
} catch (const graft::Error& e) {
  std::fprintf(stderr, "error: %s\n%s\n", e.what(), e.hint().c_str());
  return 1;
}
