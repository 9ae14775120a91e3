#!/usr/bin/env bash
# From a fresh clone to a text classifier, and to what transfer learning is worth: the same reviews read by counting words, by a
# network from random weights, by the bundled model, and by a real pretrained checkpoint; then German, French and Spanish reviews.
#   ./quickstart.sh [FOLDER]     everything that is made lies in FOLDER (default: results/quickstart)
# GRAFT_BUILD=DIR uses the programs of that build folder instead of building.
set -euo pipefail
cd "$(dirname "$0")"
case "${1:-}" in
  -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
  -*) echo "usage: ./quickstart.sh [FOLDER]" >&2; exit 2 ;;
esac
out=${1:-results/quickstart}
if [ -e "$out" ]; then
  echo "error: $out is there already: remove it, or name another folder: ./quickstart.sh FOLDER" >&2
  exit 1
fi
step() { printf '\n== %s\n' "$1"; }
reviews=examples/reviews mini=models/graft-mini
train=$reviews/train.csv validation=$reviews/validation.csv test=$reviews/test.csv

fetched=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$fetched"' EXIT
if [ -z "${GRAFT_BUILD:-}" ]; then
  step "packages and build"
  scripts/install-deps.sh
fi
started=$SECONDS
scripts/get-model.sh >"$fetched/folder" 2>"$fetched/log" & # while the compiler works
fetching=$!
if [ -z "${GRAFT_BUILD:-}" ]; then
  cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGRAFT_TESTS=OFF >/dev/null
  cmake --build build --target graft_cli example_tf_idf | tail -1
fi
build=${GRAFT_BUILD:-build}
graft=$build/graft tf_idf=$build/examples/tf_idf
mkdir -p "$out"

step "a real pretrained checkpoint: all-MiniLM-L6-v2, 22.7 M weights, Apache-2.0"
wait "$fetching" && real=$(tail -1 "$fetched/folder") || real=
cat "$fetched/log" >&2
[ -n "$real" ] || echo "No source of the checkpoint answered: going on with the bundled model alone."

# --- measuring
rows=$out/results.tsv # name, training reviews, mean of correct answers, test reviews, seconds of one training
logs=$out/logs
mkdir -p "$logs"
# Several trainings at once, one thread each: a batch of 8 or 16 short reviews is too little work for two threads to share well,
# and the results do not depend on the number of threads.
cores=$(nproc) running=0 measured=()
# One row of the table from several seeds: begin NAME REVIEWS FOLDER SEEDS OPTIONS...; the first seed's model stays in FOLDER.
begin() {
  local name=$1 reviews=$2 folder=$3 seeds=$4 seed one
  shift 4
  for seed in $seeds; do
    one=$folder
    [ "$seed" = "${seeds%% *}" ] || one=$folder-$seed
    if [ "$running" -ge "$cores" ]; then
      wait -n || exit 1
      running=$((running - 1))
    fi
    printf '  %s, %s reviews, seed %s\n' "$name" "$reviews" "$seed"
    fine_tune "$one" --seed "$seed" --max_train_samples "$reviews" "$@" &
    running=$((running + 1))
  done
  measured+=("$name|$reviews|$folder|$seeds")
}
# Fine-tunes once into a folder: fine_tune FOLDER OPTIONS...
fine_tune() {
  local folder=$1 log
  shift
  log=$logs/$(basename "$folder").txt
  "$graft" train --task sequence-classification --train_file $train --test_file $test --output_dir "$folder" --num_threads 1 \
    --per_device_eval_batch_size 64 --warmup_ratio 0.1 --save_strategy no "$@" >"$log" 2>&1 || { tail -5 "$log" >&2; exit 1; }
}
value() { grep -oE "\"$2\": *[0-9.e+-]+" "$1/all_results.json" | grep -oE '[0-9.e+-]+$'; } # none: the script ends
# Waits for all trainings and writes their rows in the order of the table.
finish() {
  local row name reviews folder seeds seed one
  while [ "$running" -gt 0 ]; do
    wait -n || exit 1
    running=$((running - 1))
  done
  for row in "${measured[@]}"; do
    IFS='|' read -r name reviews folder seeds <<<"$row"
    for seed in $seeds; do
      one=$folder
      [ "$seed" = "${seeds%% *}" ] || one=$folder-$seed
      printf '%s\t%s\n' "$(value "$one" test_accuracy)" "$(value "$one" train_runtime)" >>"$folder/seeds.tsv"
      [ "$one" = "$folder" ] || rm -rf "$one"
    done
    awk -v OFS='\t' -v name="$name" -v reviews="$reviews" -v tests=$num_test \
      '{ a += $1; s += $2 } END { print name, reviews, sprintf("%.1f", tests * a / NR), tests, sprintf("%.1f", s / NR) }' \
      "$folder/seeds.tsv" >>"$rows"
  done
}
# Word counting: its answers do not depend on a seed.
count_words() {
  local begin end answer
  begin=$(date +%s%N)
  answer=$("$tf_idf" $train $test "$1")
  end=$(date +%s%N)
  printf '%s\t%s\t%s\t%s\t%s\n' "$counting" "$1" $(echo "$answer" | cut -d' ' -f2,3) \
    "$(awk -v t=$((end - begin)) 'BEGIN { printf "%.1f", t / 1e9 }')" >>"$rows"
}
num_test=$(($(wc -l <$test) - 1)) num_train=$(($(wc -l <$train) - 1))
counting="tf-idf of words and characters"
random="network from random weights" bundled="bundled graft-mini" pretrained="all-MiniLM-L6-v2"
seeds="1 2 3"

step "training, $cores at once with one thread each (logs: $logs)"
largest=$(tail -n +2 $test | grep -oE '[a-z]+$' | sort | uniq -c | sort -rn | awk 'NR == 1 { print $1 }')
printf 'always the larger class\t0\t%s\t%s\t0.0\n' "$largest" "$num_test" >"$rows"
count_words "$num_train"
begin "$random" "$num_train" "$out/random" 1 --config_name $mini/config.json --tokenizer_name $mini \
  --per_device_train_batch_size 16 --num_train_epochs 5 --learning_rate 2e-4
begin "$bundled" "$num_train" "$out/mini" 1 --model $mini --per_device_train_batch_size 8 --num_train_epochs 6 --learning_rate 1e-4
best=$out/mini
if [ -n "$real" ]; then
  begin "$pretrained" "$num_train" "$out/reviews" "$seeds" --model "$real" --per_device_train_batch_size 16 --num_train_epochs 4 --learning_rate 1e-4
  best=$out/reviews
  for few in 150 50; do
    count_words $few
    begin "$pretrained" $few "$out/reviews-$few" "$seeds" --model "$real" --per_device_train_batch_size 8 \
      --num_train_epochs $((few == 50 ? 10 : 6)) --learning_rate 1e-4
  done
fi
finish

# --- the story
# Lines of the table: 95 % interval by Wilson's formula.
table() {
  awk -F'\t' -v reviews="$1" '
    $2 == reviews || (reviews == '"$num_train"' && $2 == 0) {
      p = $3 / $4; n = $4; z = 1.96; d = 1 + z * z / n
      m = (p + z * z / (2 * n)) / d; h = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
      printf "  %-32s %6s of %d   %5.1f %%   %4.0f - %2.0f %%   %6.1f s\n", $1, $3, n, 100 * p, 100 * (m - h), 100 * (m + h), $5
    }' "$rows"
}
heading() { printf '  %-32s %13s   %7s   %11s   %8s\n' "$1" "correct" "" "95 %" "training"; } # on one core
gain() { # accuracy of all-MiniLM-L6-v2 minus that of tf-idf, in points
  awk -F'\t' -v reviews="$1" -v a="$pretrained" -v b="$counting" \
    '$2 == reviews { p[$1] = 100 * $3 / $4 } END { printf "%+.1f", p[a] - p[b] }' "$rows"
}

step "result: negative or positive? $num_test test reviews, $num_train training reviews"
heading ""
table "$num_train"
if [ -n "$real" ]; then
  for few in 150 50; do
    heading "with $few training reviews"
    table $few
  done
  echo
  echo "Transfer is worth $(gain "$num_train") points over counting words with $num_train reviews, $(gain 150) points with 150, $(gain 50) points with 50."
  echo "all-MiniLM-L6-v2: mean of three seeds. The other networks: one seed; another one moves the row by several points."
else
  echo
  echo "One seed: another one moves a row by several points. With network access there are more rows, of three seeds."
fi

step "predict: three plain sentences, two whose verdict has to be understood"
{
  echo "Lovely food and friendly staff, I would go again."
  echo "It broke after two days and nobody answered my emails."
  echo "Not worth the money."
  head -2 $reviews/unlabelled.txt
} >"$out/texts.txt"
# Labels and scores beside the texts.
predict() {
  "$graft" predict --model "$1" --input "$2" 2>"$logs/predict.txt" >"$out/answers.jsonl"
  paste -d' ' "$out/answers.jsonl" "$2" | sed -E 's/^\{"label":"([a-z]+)","score":([0-9.]{6})[0-9]*\}/  \1 \2 /'
}
predict "$best" "$out/texts.txt"

step "other languages: reviews read by models that saw English labels alone"
# The accuracy of a model on a file, in percent.
score() {
  "$graft" evaluate --model "$1" --test_file "$2" --json 2>>"$logs/languages.txt" | grep -oE '"[a-z_]*accuracy": *[0-9.]+' |
    awk -F: '{ printf "%.1f %%", 100 * $2 }'
}
printf '  %-8s %11s   %18s   %18s\n' "" "" "$bundled" "${real:+$pretrained}"
for language in de:German fr:French es:Spanish; do
  file=$reviews/test.${language%%:*}.csv
  printf '  %-8s %3d reviews   %18s   %18s\n' "${language#*:}" $(($(wc -l <"$file") - 1)) "$(score "$out/mini" "$file")" \
    "${real:+$(score "$out/reviews" "$file")}"
done
printf '%s\n' "Das Essen war wunderbar und die Bedienung sehr freundlich." "Je ne recommande pas cet hôtel, la chambre était sale." \
  "No lo recomiendo, se rompió a la semana." >"$out/foreign.txt"
predict "$out/mini" "$out/foreign.txt"
echo "$bundled learned these languages from pairs of sentences (models/graft-mini/README.md)."

step "next"
cat <<END
Your own sentences:   echo 'I would buy it again.' | $graft predict --model $best
Your own data:        $graft train --model ${real:-$mini} --train_file yours.csv --output_dir results/yours --learning_rate 1e-4
                      (a csv with the columns text and label)
Another checkpoint:   --model bert-base-uncased, or any folder of a model in docs/models-and-tasks.md
Other languages:      $graft xling --model $mini --train_file yours.csv --test_files de=german.csv,fr=french.csv --output_dir results/matrix
From C++: examples/predict.cpp; from C: examples/predict.c. All options: $graft train --help
END
printf '\nTotal: %d s, without installing packages.\n' $((SECONDS - started))
