#!/usr/bin/env bash
# From a fresh clone to a text classifier of one's own: the model in models/graft-mini, the reviews in examples/reviews.
# ./quickstart.sh [FOLDER]: everything that is made lies in FOLDER (default: results/quickstart).
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-results/quickstart}
if [ -e "$out" ]; then
  echo "$out is there already: remove it, or name another folder: ./quickstart.sh FOLDER" >&2
  exit 1
fi
step() { printf '\n== %s\n' "$1"; }
reviews=examples/reviews mini=models/graft-mini

step "packages and build"
scripts/install-deps.sh
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGRAFT_TESTS=OFF >/dev/null
cmake --build build --target graft_cli example_bag_of_words | tail -1
graft=build/graft
mkdir -p "$out"

# Fine-tunes the model that the first options name, into a folder.
fine_tune() {
  local folder=$1
  shift
  $graft train "$@" --task sequence-classification --train_file $reviews/train.csv \
    --validation_file $reviews/validation.csv --test_file $reviews/test.csv --output_dir "$folder" \
    --per_device_train_batch_size 16 --num_train_epochs 20 --learning_rate 3e-4 --weight_decay 0.01 \
    --warmup_ratio 0.1 --save_strategy no
}
accuracy() { grep -oE '"test_accuracy": *[0-9.]+' "$1/all_results.json" | grep -oE '[0-9.]+$'; }  # none: the script ends
percent() { awk -v a="$1" 'BEGIN { printf "%.1f %%", 100 * a }'; }
started=$SECONDS

step "fine-tune the bundled model on 492 reviews: negative or positive?"
fine_tune "$out/reviews" --model $mini

step "the same from random weights: what the pretraining is worth"
fine_tune "$out/random" --config_name $mini/config.json --tokenizer_name $mini
seconds=$((SECONDS - started))

step "result: how many of the 148 test reviews get the right label (half would be chance)"
words=$(build/examples/bag_of_words $reviews/train.csv $reviews/test.csv)
tuned=$(accuracy "$out/reviews")
random=$(accuracy "$out/random")
printf '  %-52s %s\n' "counting words (logistic regression)" "$(percent "$words")" \
  "the network from random weights" "$(percent "$random")" "the bundled pretrained model, fine-tuned" "$(percent "$tuned")"
awk -v a="$tuned" -v b="$random" -v s="$seconds" 'BEGIN {
  gain = 100 * (a - b)
  printf "Transfer gave %+.1f points over random weights; both trainings took %d s.\n", gain, s
  print "One run of each: another --seed moves either by four points (models/graft-mini/README.md has five seeds)."
  if (gain < 3) print "That is less than 3 points: over half of these reviews show their verdict in a word, which counting finds, too; the others are irony and small stories, which this model is too small to understand (models/graft-mini/README.md has the measurements)."
}'

step "predict: three that say it, two whose verdict has to be understood (so small a model often misses those)"
{
  echo "Lovely food and friendly staff, I would go again."
  echo "It broke after two days and nobody answered my emails."
  echo "Not worth the money."
  head -2 $reviews/unlabelled.txt
} >"$out/texts.txt"
cat "$out/texts.txt"
$graft predict --model "$out/reviews" <"$out/texts.txt"

step "next"
cat <<END
Your own sentences:   echo 'I would buy it again.' | $graft predict --model $out/reviews
Your own data:        a csv with the columns text and label, in place of $reviews/train.csv
A larger checkpoint (downloaded on first use) knows far more than this small one:
  $graft train --model bert-base-uncased --task sequence-classification --train_file $reviews/train.csv \\
      --validation_file $reviews/validation.csv --output_dir results/bert --learning_rate 2e-5
From C++: examples/predict.cpp; from C: examples/predict.c. All options: $graft train --help
END
