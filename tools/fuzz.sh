#!/usr/bin/env bash
# Runs one libFuzzer target from its kept seeds, and from each seed repeated up to a megabyte. A crash, a leak, a hang, an allocation of
# more than 256 MB or a process of more than 512 MB is a failure.
#   tools/fuzz.sh build-asan/tests/fuzz/fuzz_csv SECONDS
set -uo pipefail
target=$1 seconds=$2
name=$(basename "$target")
seeds="$(dirname "$0")/../tests/fuzz/seeds/${name#fuzz_}"
[ -d "$seeds" ] || { echo "$name: no seeds in $seeds"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/found" "$work/large"
largest=1000000 memory=512
# The first byte, which often picks the reader, and the rest of the seed over and over.
for seed in "$seeds"/*; do
  [ "$(stat -c %s "$seed")" -gt 1 ] || continue
  tail -c +2 "$seed" >"$work/rest"
  while [ "$(stat -c %s "$work/rest")" -lt $largest ]; do cat "$work/rest" "$work/rest" >"$work/twice" && mv "$work/twice" "$work/rest"; done
  { head -c 1 "$seed"; cat "$work/rest"; } | head -c $largest >"$work/large/$(basename "$seed")"
done
# The sanitizer keeps freed memory aside, 256 MB by default: that is not the reader's.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=16"
if "$target" -max_total_time="$seconds" -timeout=60 -max_len=$largest -malloc_limit_mb=256 -rss_limit_mb=$memory -print_final_stats=1 \
     -artifact_prefix="$PWD/$name-" "$work/found" "$seeds" "$work/large" >"$work/log" 2>&1; then
  echo "$name: $(grep -oE 'number_of_executed_units: [0-9]+' "$work/log" | tr -dc 0-9) inputs in $seconds s," \
    "$(grep -oE 'peak_rss_mb: +[0-9]+' "$work/log" | tr -dc 0-9) MB at most"
else
  tail -40 "$work/log"
  echo "$name: failed; the input is in $PWD/$name-*"
  exit 1
fi
