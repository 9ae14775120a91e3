// Trains a WordPiece vocabulary, as BERT's: train_tokenizer FOLDER SIZE FILE...
#include <cstdio>
#include <cstdlib>

#include "graft/error.h"
#include "graft/train_tokenizer.h"

int main(int argc, char** argv) try {
  if (argc < 4) throw graft::Error("usage: train_tokenizer FOLDER SIZE FILE...");
  graft::TrainTokenizerOptions options;
  options.vocab_size = std::atoi(argv[2]);
  const auto tokenizer = graft::train_tokenizer({argv + 3, argv + argc}, options);
  std::filesystem::create_directories(argv[1]);
  tokenizer->save(argv[1]);
  std::printf("%d tokens, in %s\n", tokenizer->vocab_size(), argv[1]);
} catch (const graft::Error& e) {
  std::fprintf(stderr, "error: %s\n%s\n", e.what(), e.hint().c_str());
  return 1;
}
