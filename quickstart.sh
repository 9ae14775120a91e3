#!/usr/bin/env bash
# From a fresh clone to a text classifier of one's own, with examples/reviews.
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-results/quickstart}
if [ -e "$out" ]; then
  echo "$out is there already: remove it, or name another folder: ./quickstart.sh FOLDER" >&2
  exit 1
fi
step() { printf '\n== %s\n' "$1"; }
reviews=examples/reviews small=examples/small

step "packages and build"
scripts/install-deps.sh
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGRAFT_TESTS=OFF >/dev/null
cmake --build build --target graft_cli example_train_tokenizer | tail -1
graft=build/graft
mkdir -p "$out"

step "a vocabulary and a very small language model, from the text of the reviews"
echo "(0.6 million weights and 45 KB of text, under a minute: this shows the way and teaches the model next to nothing)"
build/examples/train_tokenizer "$out/tokenizer" 1500 $reviews/train.csv $reviews/unlabelled.txt
$graft train --task masked-lm --config_name $small/config.json --tokenizer_name "$out/tokenizer" \
  --train_file $reviews/train.csv $reviews/unlabelled.txt --output_dir "$out/pretrained" \
  --max_seq_length 64 --per_device_train_batch_size 16 --num_train_epochs 40 --learning_rate 1e-3 \
  --warmup_ratio 0.1 --logging_steps 0.25 --save_strategy no

step "fine-tune it: negative or positive?"
$graft train --model "$out/pretrained" --task sequence-classification --train_file $reviews/train.csv \
  --validation_file $reviews/validation.csv --test_file $reviews/test.csv --output_dir "$out/reviews" \
  --per_device_train_batch_size 16 --num_train_epochs 6 --learning_rate 3e-4 --weight_decay 0.01 \
  --warmup_ratio 0.1 --save_strategy no

step "predict"
head -4 $reviews/unlabelled.txt
head -4 $reviews/unlabelled.txt | $graft predict --model "$out/reviews"

step "next"
cat <<END
A real checkpoint does far better than this one (it is downloaded on first use):
  $graft train --model bert-base-uncased --task sequence-classification --train_file $reviews/train.csv \\
      --validation_file $reviews/validation.csv --output_dir results/bert --learning_rate 2e-5
Your own data: a csv with the columns text and label, in place of $reviews/train.csv.
From C++: examples/predict.cpp. All options: $graft train --help
END
