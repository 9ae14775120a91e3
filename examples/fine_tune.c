/* Fine-tunes a checkpoint from C: fine_tune_c MODEL TRAIN_FILE TEST_FILE */
#include <graft/graft.h>
#include <stdio.h>

static void print_log(const char* json, void* user) { fprintf((FILE*)user, "%s\n", json); }

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: fine_tune_c MODEL TRAIN_FILE TEST_FILE\n");
    return 2;
  }
  char options[4096];
  const int length = snprintf(options, sizeof options,
                              "{\"model\": \"%s\", \"train_file\": \"%s\", \"test_file\": \"%s\","
                              " \"output_dir\": \"results\", \"overwrite_output_dir\": true,"
                              " \"num_train_epochs\": 3, \"learning_rate\": 1e-4, \"logging_steps\": 2}",
                              argv[1], argv[2], argv[3]);
  if (length < 0 || (size_t)length >= sizeof options) return 2;
  graft_train_callbacks callbacks = {print_log, NULL, stdout};
  if (graft_train(options, &callbacks) != GRAFT_OK) {
    fprintf(stderr, "error: %s\n", graft_last_error());
    return 1;
  }
  return 0;
}
