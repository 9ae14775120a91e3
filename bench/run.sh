#!/usr/bin/env bash
# Builds the benches and runs them, one after the other, with nothing beside them.
#   bench/run.sh [NAME...] [--json]      names: step_bench, tokenizer_bench; default: all
set -euo pipefail
cd "$(dirname "$0")/.."
names=() json=()
for arg in "$@"; do
  case "$arg" in
    --json) json=(--json) ;;
    -*) echo "usage: bench/run.sh [NAME...] [--json]" >&2; exit 2 ;;
    *) names+=("$arg") ;;
  esac
done
[ ${#names[@]} -gt 0 ] || names=(step_bench tokenizer_bench)
cmake --preset release -DGRAFT_BENCH=ON >/dev/null
ninja -C build "${names[@]}" >&2
lscpu | sed -n 's/^Model name: */cpu: /p' >&2
for name in "${names[@]}"; do
  if [ "$name" = step_bench ]; then
    build/bench/step_bench --fp32 "${json[@]}"
    grep -q avx512_bf16 /proc/cpuinfo && build/bench/step_bench --bf16 "${json[@]}"
  else
    build/bench/"$name" "${json[@]}"
  fi
done
