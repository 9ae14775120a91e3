// Half the size on disk: store_16_bit FOLDER TASK OUT. Computing stays in fp32 or bf16 as before.
#include <cstdio>

#include "graft/error.h"
#include "graft/model.h"
#include "graft/tokenizer.h"

int main(int argc, char** argv) try {
  if (argc != 4) throw graft::Error("usage: store_16_bit FOLDER TASK OUT");
  graft::ModelOptions options;
  options.task = argv[2];
  graft::Model::from_pretrained(argv[1], options).save_pretrained(argv[3], "float16");
  graft::Tokenizer::from_pretrained(argv[1])->save(argv[3]);
} catch (const graft::Error& e) {
  std::fprintf(stderr, "error: %s\n%s\n", e.what(), e.hint().c_str());
  return 1;
}
