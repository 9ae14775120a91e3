#!/usr/bin/env bash
# The rows of the reference's fine-tuning table (bert-tiny on SST-2, first 10,000 rows, 3 epochs, batch 32) with graft.
#   bench/sst2_seeds.sh CHECKPOINT|scratch LEARNING_RATE SEED...     needs ../shared; prints accuracies, mean, sd
set -euo pipefail
cd "$(dirname "$0")/.."
start=$1 rate=$2
shift 2
data=../shared/data model=../shared/data/checkpoints/bert-tiny-novels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
from=(--model "$model")
[ "$start" = scratch ] && from=(--config_name "$model/config.json" --tokenizer_name "$model")
for seed in "$@"; do
  build/graft train "${from[@]}" --task sequence-classification --train_file $data/sets/sst2/train.tsv \
    --validation_file $data/sets/sst2/dev.tsv --max_train_samples 10_000 --num_train_epochs 3 \
    --per_device_train_batch_size 32 --per_device_eval_batch_size 32 --learning_rate "$rate" --seed "$seed" \
    --save_strategy no --output_dir "$out/$seed" --json 2>/dev/null
done | awk -v start="$start" -v rate="$rate" '
  { match($0, /"eval_accuracy":[0-9.e-]+/); a = substr($0, RSTART + 16, RLENGTH - 16)
    match($0, /"train_last_epoch_loss":[0-9.e-]+/); l = substr($0, RSTART + 24, RLENGTH - 24)
    n++; s += a; q += a * a; printf "seed %d: accuracy %.4f, mean loss of the last epoch %.3f\n", n, a, l; fflush() }
  END { m = s / n; printf "%s, learning rate %s: mean %.4f, sd %.4f over %d seeds\n", start, rate, m, (n > 1 ? sqrt((q - n * m * m) / (n - 1)) : 0), n }'
