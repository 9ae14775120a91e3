#!/usr/bin/env bash
# How models/graft-mini was made: pretrain_mini.sh CORPORA FOLDER
# CORPORA holds the .txt files of the model card, one paragraph a line. An hour and a half on two Zen 5 cores with the default steps, which are
# those of version 1; what is done so far is in FOLDER/constant/checkpoint-N, and the last phase can start from any of them.
set -euo pipefail
graft=$(cd "$(dirname "$0")/.." && pwd)/build/graft
corpora=$1 out=$2 constant_steps=${CONSTANT_STEPS:-60_594} decay_steps=${DECAY_STEPS:-7000}
mkdir -p "$out"
sources=(wikipedia openstax_books sgd_dialogues eltec_novels commonvoice_cc0 african_storybook)
files=()

# Every 500th line is held out.
rm -f "$out/train.txt" "$out/heldout.txt"
for s in "${sources[@]}"; do
  files+=("$corpora/$s.txt")
  awk -v h="$out/heldout.txt" -v t="$out/train.txt" '{ print >> (NR % 500 == 250 ? h : t) }' "$corpora/$s.txt"
done
"$graft" train-tokenizer --train_file "${files[@]}" --type wordpiece --vocab_size 12_288 --limit_alphabet 200 --model_max_length 128 \
  --output_dir "$out/vocab"
cat >"$out/config.json" <<'END'
{"model_type": "bert", "vocab_size": 12288, "hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
 "intermediate_size": 1024, "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
 "max_position_embeddings": 128, "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0}
END
common=(--task masked-lm --train_file "$out/train.txt" --validation_file "$out/heldout.txt" --max_seq_length 128
  --per_device_train_batch_size 16 --mlm_probability 0.2 --adam_beta2 0.98 --weight_decay 0.01 --logging_steps 1000 --eval_strategy no --bf16 true)
# A constant rate can be stopped anywhere; then the rate falls to zero.
"$graft" train --config_name "$out/config.json" --tokenizer_name "$out/vocab" "${common[@]}" --output_dir "$out/constant" \
  --learning_rate 1e-3 --lr_scheduler_type constant_with_warmup --warmup_steps 1000 --max_steps "$constant_steps" \
  --save_strategy steps --save_steps 4000 --save_total_limit 3 --seed 42
"$graft" train --model "$out/constant" "${common[@]}" --output_dir "$out/decayed" --do_eval true --learning_rate 1e-3 \
  --warmup_steps 100 --max_steps "$decay_steps" --save_strategy no --seed 43
# Dropout as BERT's for whoever fine-tunes it, and half the size.
sed -i 's/\("[a-z_]*dropout_prob": *\)0\.0/\10.1/' "$out/decayed/config.json"
"$(dirname "$graft")/examples/store_16_bit" "$out/decayed" masked-lm "$out/graft-mini"
