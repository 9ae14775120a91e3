#!/usr/bin/env bash
# How models/graft-mini was made: distill_mini.sh DATA FOLDER [OPTIONS of graft distill]
# DATA holds parallel/en-LANGUAGE/SOURCE.tsv.xz (English TAB other) and corpora/LANGUAGE/SOURCE.txt.xz, whose licences allow weights that ship.
# What is done so far is in FOLDER/constant/checkpoint-N: --resume_from_checkpoint true goes on from the last one, and DECAY_FROM=... lets the
# last phase start from any of them: an hour and a quarter of two quiet cores for the 2,600 steps of version 2.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd) graft=${GRAFT_BUILD:-$project/build}/graft
data=$1 out=$2 constant_steps=${CONSTANT_STEPS:-2200} decay_steps=${DECAY_STEPS:-400}
shift 2
mkdir -p "$out"
# read SEED LINES FILES...: that many lines of the files, drawn with a seed; a file that is not there is left out.
read_lines() {
  local seed=$1 lines=$2 file
  shift 2
  for file in "$@"; do [ ! -e "$file" ] || xzcat "$file"; done | tr -d '\r' | shuf -n "$lines" --random-source=<(yes "$seed")
}
of() { # DIRECTORY EXTENSION NAMES...: the paths of the sources
  local directory=$1 extension=$2 name
  shift 2
  for name in "$@"; do echo "$directory/$name.$extension.xz"; done
}

if [ ! -e "$out/pairs.tsv" ]; then
  # At most 35,000 pairs of software texts and web pages and 12,000 verses a language. Where there are few of the former they are repeated, and
  # German has all its verses.
  for language in de es fr it pt ru zh; do
    pairs=$data/parallel/en-$language times=1 verses=12000
    case $language in it | ru) times=6 ;; de) times=3 verses=31000 ;; fr) verses=18000 ;; esac
    for ((i = 0; i < times; ++i)); do
      read_lines 1 35000 $(of "$pairs" tsv african_storybook comprehensive_rust electron_docs mozilla_web opensource_guide python_docs tensorflow_docs)
    done
    read_lines 2 "$verses" $(of "$pairs" tsv bible)
  done | awk -F'\t' 'NF == 2 && length($1) > 1 && length($2) > 1 && length($1) < 2000' >"$out/pairs.new"
  # English of other domains: what the student keeps, and which pieces it needs.
  english=$data/corpora/en
  read_lines 3 20000 $(of "$english" txt wikipedia openstax_books sgd_dialogues african_storybook commonvoice_cc0) | awk 'length($0) <= 600' >"$out/english.txt"
  { read_lines 4 120000 $(of "$english" txt wikipedia openstax_books sgd_dialogues african_storybook commonvoice_cc0 eltec_novels) | awk 'length($0) <= 600'
    cut -f1 "$out/pairs.new" | sort -u; } >"$out/pieces.en.txt"
  # As many characters of each language decide which pieces are added.
  for language in de es fr it pt ru zh; do
    { read_lines 5 60000 $(of "$data/corpora/$language" txt wikipedia commonvoice_cc0 bundestag_debates eltec_novels d365_docs powershell_docs) | awk 'length($0) <= 600'
      read_lines 6 20000 "$data/parallel/en-$language"/*.tsv.xz | cut -f2; } | LC_ALL=C awk '(n += length($0) + 1) <= 5e6'
  done >"$out/pieces.other.txt"
  mv "$out/pairs.new" "$out/pairs.tsv"
fi
# The student inherits the teacher's config.json. Few tokens are read, most of them once: dropout would only slow it down.
if [ ! -e "$out/teacher" ]; then
  cp -rL "${TEACHER:-$project/models/all-MiniLM-L6-v2}" "$out/teacher"
  sed -i 's/\("[a-z_]*dropout_prob": *\)0\.1/\10.0/' "$out/teacher/config.json"
fi
common=(--teacher "$out/teacher" --parallel "$out/pairs.tsv" --train_file "$out/english.txt"
  --teacher_cache "$out/outputs" --max_tokens_per_batch 4096 --max_seq_length 128 --per_device_train_batch_size 64 --learning_rate 5e-4 --adam_beta2 0.98
  --weight_decay 0.01 --logging_steps 50 "$@")
# The teacher cut to 13,000 of these pieces loses 3 points on the example reviews, to 18,000 none. 28,500 rows in 16 bits make a folder of 45 MB.
# A constant rate can be stopped anywhere; then the rate falls to zero.
if [ ! -e "$out/constant/model.safetensors" ]; then
  "$graft" distill "${common[@]}" --vocabulary "$out/pieces.en.txt" --vocabulary_size 17_000 --add_pieces 11_500 --pieces_file "$out/pieces.other.txt" \
    --align --output_dir "$out/constant" --lr_scheduler_type constant_with_warmup --warmup_steps 50 --max_steps "$constant_steps" \
    --save_strategy steps --save_steps 200 --save_total_limit 2
fi
"$graft" distill "${common[@]}" --student "${DECAY_FROM:-$out/constant}" --output_dir "$out/decayed" --lr_scheduler_type linear \
  --max_steps "$decay_steps" --save_strategy steps --save_steps 200 --save_total_limit 1 --seed 43
# The teacher's embeddings do not say everything that its layers know: a student that learned them alone reads the example reviews some points worse.
# Between its start and its end it has both (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"$graft" merge --models "$out/constant/start,$out/decayed" --method linear --weights 0.4,0.6 --output_dir "$out/merged" --overwrite_output_dir true
"$project/build/examples/store_16_bit" "$out/merged" sentence-embedding "$out/graft-mini"
sed -i 's/\("[a-z_]*dropout_prob": *\)0\.0/\10.1/' "$out/graft-mini/config.json" # for whoever fine-tunes it
