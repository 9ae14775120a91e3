#!/usr/bin/env bash
# Runs one libFuzzer target from its kept seeds; a crash, leak, hang or more than 2 GB of memory is a failure.
#   tools/fuzz.sh build-asan/tests/fuzz/fuzz_csv SECONDS
set -uo pipefail
target=$1 seconds=$2
name=$(basename "$target")
seeds="$(dirname "$0")/../tests/fuzz/seeds/${name#fuzz_}"
[ -d "$seeds" ] || { echo "$name: no seeds in $seeds"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/found"
if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
     -artifact_prefix="$PWD/$name-" "$work/found" "$seeds" >"$work/log" 2>&1; then
  echo "$name: $(grep -oE 'number_of_executed_units: [0-9]+' "$work/log" | tr -dc 0-9) inputs in $seconds s"
else
  tail -40 "$work/log"
  echo "$name: failed; the input is in $PWD/$name-*"
  exit 1
fi
