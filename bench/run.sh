#!/usr/bin/env bash
# Builds the benches and runs them, one after the other, with nothing beside them.
#   bench/run.sh [NAME...] [--json]
# names: step, generation, tokenizer, peer_torch; default: step, generation and tokenizer
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
[ ${#names[@]} -gt 0 ] || names=(step generation tokenizer)

# The Rust engine on 20 MB a language, ids compared; only where its npm package is installed.
peer_tokenizers() {
  local shared=${GRAFT_SHARED:-../shared}
  if ! (cd bench && node -e 'import("tokenizers").catch(() => process.exit(1))') 2>/dev/null; then
    echo "no peer: npm install --no-save --no-package-lock tokenizers, for the Rust engine beside it" >&2
    return
  fi
  documents=$(mktemp -d)
  trap 'rm -rf "$documents"' EXIT
  build/bench/tokenizer_bench --shared "$shared" --mb 20 --dump "$documents" --json >"$documents/graft.json"
  node bench/tokenizer_bench.mjs "$shared" "$documents" "$documents/graft.json" "${json[@]}"
}

cmake --preset release -DGRAFT_BENCH=ON >/dev/null
lscpu | sed -n 's/^Model name: */cpu: /p' >&2
for name in "${names[@]}"; do
  case "$name" in
    peer_torch)
      ninja -C build step_bench >&2
      python=python3
      [ ! -x /usr/bin/python3 ] || python=/usr/bin/python3  # Debian's, which has Debian's PyTorch
      "$python" bench/peer_torch.py "${json[@]}"
      ;;
    *)
      ninja -C build "${name}_bench" >&2
      "build/bench/${name}_bench" "${json[@]}"
      [ "$name" != tokenizer ] || peer_tokenizers
      ;;
  esac
done
