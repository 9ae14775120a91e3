// Fine-tunes a pretrained model on labelled texts.
//   fine_tune [MODEL [TRAIN_FILE TEST_FILE]]
#include <cstdio>
#include <string>
#include <utility>

#include "graft/dataset.h"
#include "graft/error.h"
#include "graft/hub.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"

int main(int argc, char** argv) try {
  const auto folder = graft::resolve_model(argc > 1 ? argv[1] : "bert-base-uncased");
  graft::TaskData data;
  data.train = graft::Dataset::from_file(argc > 3 ? argv[2] : "examples/reviews/train.csv");
  data.eval = graft::Dataset::from_file(argc > 3 ? argv[3] : "examples/reviews/test.csv");
  data.tokenizer = graft::Tokenizer::from_pretrained(folder);
  const auto model = graft::load_for_training(folder, data);

  graft::TrainingArguments arguments;
  arguments.output_dir = "./results";
  arguments.num_train_epochs = 3;
  arguments.per_device_train_batch_size = 32;
  arguments.per_device_eval_batch_size = 64;
  arguments.save_steps = 10'000;
  arguments.eval_strategy = "steps";
  arguments.eval_steps = 2;
  arguments.logging_steps = 2;
  arguments.do_train = true;
  arguments.do_eval = true;

  graft::Trainer trainer(model, arguments, std::move(data));
  graft::Observer observer;
  observer.on_log = [](const graft::LogEntry& entry) {
    for (const auto& [name, value] : entry) std::printf("%s %.4g  ", name.c_str(), value);
    std::printf("\n");
  };
  trainer.train(observer);
} catch (const graft::Error& e) {
  std::fprintf(stderr, "error: %s\n%s\n", e.what(), e.hint().c_str());
  return 1;
}
