#!/usr/bin/env bash
# Installs the build into a fresh folder, builds the example programs against the installed package alone, and runs one.
#   install_test.sh BUILD_DIR CXX_COMPILER
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$1 compiler=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" >"$work/log"
"$work/prefix/bin/graft" --version
# A copy, so that nothing of the source tree but the examples can be found.
cp -r "$source/examples" "$work/examples"
cmake -G Ninja -S "$work/examples" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_COMPILER="$compiler" >>"$work/log"
cmake --build "$work/build" >>"$work/log" || { cat "$work/log"; exit 1; }

# No such model: the program must start, load the library and say so.
if "$work/build/predict" "$work/nothing" hello 2>"$work/error"; then
  echo "a folder that does not exist was accepted"
  exit 1
fi
grep -q "^error: .*nothing" "$work/error" || { cat "$work/error"; exit 1; }
