#!/usr/bin/env bash
# Installs the build into a fresh folder, builds the example programs against the installed package alone, and runs one.
# Builds two of them against the shared library, through pkg-config, and checks what that library exports.
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

# The shared library: no other package is named. The C program needs no C++ compiler either.
export PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name graft.pc)")
library=$(find "$work/prefix" -name libgraft.so)
flags=$(pkg-config --cflags --libs graft)
mkdir "$work/shared"
"$compiler" -std=c++20 "$work/examples/predict.cpp" $flags -o "$work/shared/predict"
cc -std=c99 "$work/examples/predict.c" $flags -o "$work/shared/predict_c"
for program in predict predict_c; do
  if LD_LIBRARY_PATH=$(dirname "$library") "$work/shared/$program" "$work/nothing" hello 2>"$work/error"; then
    echo "a folder that does not exist was accepted by $program"
    exit 1
  fi
  grep -q "nothing" "$work/error" || { cat "$work/error"; exit 1; }
done
ldd "$work/shared/predict" >/dev/null
readelf -d "$library" | grep -qF "soname: [libgraft.so.0.1]" || { echo "libgraft.so has no soname"; exit 1; }

# At most 20 exported functions per public header, all of them declared there; no symbol of the standard library.
nm -D --defined-only "$library" | awk '$2 ~ /[TW]/ { print $3 }' | c++filt | sed -E 's/\[abi:[a-z0-9]+\]//' | sort -u >"$work/symbols"
: >"$work/declared"
for header in "$work"/prefix/include/graft/*.h; do
  { sed -nE 's/^(class|struct) GRAFT_API (\w+).*/graft::\2::/p' "$header"
    sed -nE 's/^GRAFT_API [^(]*\b(\w+)\(.*/(graft::)?\1(\\(|$)/p' "$header"; } >"$work/names"
  [ -s "$work/names" ] || continue
  { grep -E "^($(paste -sd'|' "$work/names"))" "$work/symbols" || true; } >"$work/of_header"
  cat "$work/of_header" >>"$work/declared"
  count=$(wc -l <"$work/of_header")
  echo "$(basename "$header"): $count exported"
  [ "$count" -le 20 ] || { cat "$work/of_header"; exit 1; }
done
if grep -vxFf "$work/declared" "$work/symbols"; then
  echo "libgraft.so exports these, and no public header declares them"
  exit 1
fi
