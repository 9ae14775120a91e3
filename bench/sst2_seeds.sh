#!/usr/bin/env bash
# The rows of the reference's fine-tuning table (bert-tiny on SST-2, first 10,000 rows, 3 epochs, batch 32) with graft.
#   [GRAFT=build/graft] [BF16=true] [OPTIM=adamw_8bit] bench/sst2_seeds.sh checkpoint|scratch LEARNING_RATE SEED...
# needs ../shared; prints accuracy on the dev set and two training losses a seed, then mean and sd of each:
#   last epoch   mean of the loss over the steps of the last epoch (train_last_epoch_loss)
#   last 300     mean over the last 300 steps, as a log with logging_steps 300 would nearly show it
# fp32 unless BF16=true: the reference's table is fp32.
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
  "${GRAFT:-build/graft}" train "${from[@]}" --task sequence-classification --train_file $data/sets/sst2/train.tsv \
    --validation_file $data/sets/sst2/dev.tsv --max_train_samples 10_000 --num_train_epochs 3 \
    --per_device_train_batch_size 32 --per_device_eval_batch_size 32 --learning_rate "$rate" --seed "$seed" \
    --bf16 "${BF16:-false}" --optim "${OPTIM:-adamw_torch}" --logging_steps 1 --save_strategy no --output_dir "$out/$seed" --json 2>/dev/null |
    sed "s/^/$seed /"
  grep -o '"loss": [0-9.e-]*' "$out/$seed/trainer_state.json" | tail -300 | awk '{ s += $2 } END { print "last300", s / NR }'
done | awk -v start="$start" -v rate="$rate" '
  function value(name) { match($0, "\"" name "\":[0-9.e-]+"); return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) }
  function add(i, x) { s[i] += x; q[i] += x * x; if (n == 1 || x < low[i]) low[i] = x; if (n == 1 || x > high[i]) high[i] = x }
  function summary(i, name) { m = s[i] / n; printf "  %-12s mean %.4f  sd %.4f  %.3f-%.3f\n", name, m, (n > 1 ? sqrt((q[i] - n * m * m) / (n - 1)) : 0), low[i], high[i] }
  $1 != "last300" { seed = $1; a = value("eval_accuracy"); l = value("train_last_epoch_loss"); next }
  { n++; add(1, a); add(2, l); add(3, $2); printf "seed %s: accuracy %.4f, loss of the last epoch %.3f, of the last 300 steps %.3f\n", seed, a, l, $2; fflush() }
  END { printf "%s, learning rate %s, %d seeds\n", start, rate, n; summary(1, "accuracy"); summary(2, "last epoch"); summary(3, "last 300") }'
