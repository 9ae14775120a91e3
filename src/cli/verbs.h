// The verbs of the program, one file each. A verb returns the exit code.
#pragma once
#include <string>
#include <vector>

namespace graft::cli {

std::vector<std::string> train_options();  // the names of the options of `graft train`
int train(int argc, char** argv);
int adapt(int argc, char** argv);
int xling(int argc, char** argv);
int evaluate(int argc, char** argv);
int embed(int argc, char** argv);
int predict(int argc, char** argv);
int generate(int argc, char** argv);
int merge(int argc, char** argv);
int tokenize(int argc, char** argv);
int info(int argc, char** argv);
int parity(int argc, char** argv);
int pull(int argc, char** argv);
int train_tokenizer(int argc, char** argv);
int distill(int argc, char** argv);
int prune(int argc, char** argv);
int verify_resume(int argc, char** argv);

}  // namespace graft::cli
