#!/bin/bash
# How long a save in the background stalls training: a random BERT-base-sized model, a checkpoint every ten steps.
#   bench/save_stall.sh [FOLDER for the runs] [graft]
# Prints the milliseconds per GB of each save after the first, which also makes the memory of the copy.
set -eu
work=${1:-$(mktemp -d)}
graft=${2:-build/graft}
mkdir -p "$work/model"
cat > "$work/model/config.json" <<JSON
{"model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
 "intermediate_size": 3072, "max_position_embeddings": 512, "pad_token_id": 0}
JSON
{ printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n'; seq 1 30517; } > "$work/model/vocab.txt"
echo '{"tokenizer_class": "BertTokenizer"}' > "$work/model/tokenizer_config.json"
{ echo text,label; for i in $(seq 1 400); do echo "$((i * 37 % 30000)) $((i * 91 % 30000)) $i,$((i % 2))"; done; } > "$work/train.csv"
run() {
  rm -rf "$work/out"
  "$graft" train --config_name "$work/model/config.json" --tokenizer_name "$work/model" --train_file "$work/train.csv" \
    --output_dir "$work/out" --per_device_train_batch_size 8 --max_steps 40 --save_strategy steps --save_steps 10 \
    --save_total_limit 1 "$@" 2>&1
}
run --background_save true | tee "$work/log.txt" | grep ' copied ' |
  awk 'NR > 1 { for (i = 1; i <= NF; ++i) if ($i == "copied") { gb = $(i+1); if ($(i+2) == "MB") gb /= 1000; ms = $(i+4) } print ms / gb " ms/GB (" ms " ms for " gb " GB)" }'
