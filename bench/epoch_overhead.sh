#!/bin/bash
# What logging of every step, evaluations and saves in the background cost: BERT-base's shape with random weights, rows of SST-2 (16,800 are a
# quarter of its epoch), run without them and with them: a log line each step, and after each 500 steps (the reference's default) a save in the
# background and an evaluation of a quarter of the dev set, which an epoch then reads once.
#   bench/epoch_overhead.sh [FOLDER for the runs] [graft] [rounds] [rows]
# Prints the seconds of each run, in turns, and the share of the medians. Needs ../shared.
set -eu
work=${1:-$(mktemp -d)}
graft=${2:-build/graft}
rounds=${3:-3}
rows=${4:-16800}
sst2=${GRAFT_SHARED:-../shared}/data/sets/sst2
mkdir -p "$work/model"
cat > "$work/model/config.json" <<JSON
{"model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
 "intermediate_size": 3072, "max_position_embeddings": 512, "pad_token_id": 0}
JSON
model=${GRAFT_CHECKPOINT:-models/all-MiniLM-L6-v2}
head -$((rows + 1)) "$sst2/train.tsv" > "$work/train.tsv"
head -219 "$sst2/dev.tsv" > "$work/dev.tsv"
run() {
  rm -rf "$work/out"
  "$graft" train --config_name "$work/model/config.json" --tokenizer_name "$model" --train_file "$work/train.tsv" --output_dir "$work/out" \
    --num_train_epochs 1 --per_device_train_batch_size 32 --json "$@" 2>/dev/null |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["train_runtime"])'
}
for round in $(seq "$rounds"); do
  run --save_strategy no --logging_strategy no >> "$work/without"
  run --logging_steps 1 --validation_file "$work/dev.tsv" --eval_strategy steps --eval_steps 500 --save_strategy steps --save_steps 500 \
    --save_total_limit 1 >> "$work/with"
  echo "without $(tail -1 "$work/without") s, with $(tail -1 "$work/with") s"
done
paste "$work/without" "$work/with" | python3 -c '
import statistics, sys
rows = [list(map(float, line.split())) for line in sys.stdin]
print(f"share of the medians: {statistics.median(b for _, b in rows) / statistics.median(a for a, _ in rows) - 1:.1%}")'
