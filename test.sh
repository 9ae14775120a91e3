#!/usr/bin/env bash
# Builds graft and checks it.
#   ./test.sh          the default tier: about thirteen minutes on two cores, builds with two compilers included
#   ./test.sh --fast   build, include check, format, fast tests
#   ./test.sh --slow   everything: slow tests, all sanitizers over the fast tests, a minute of every fuzz target
#   ./test.sh --interop  build, then compare with the releases of tests/interop/pins.toml (from PyPI, kept in .interop/)
# The last line counts the tests; a test that was skipped although ../shared is there is a failure.
set -uo pipefail
cd "$(dirname "$0")"

tier=default
for arg in "$@"; do
  case "$arg" in
    --fast) tier=fast ;;
    --slow) tier=slow ;;
    --interop) tier=interop ;;
    *) echo "usage: ./test.sh [--fast|--slow|--interop]" >&2; exit 2 ;;
  esac
done
cores=$(nproc)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0 skipped=0 failures=()

say() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

# check NAME COMMAND...: one test of its own.
check() {
  local name=$1
  shift
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); failures+=("$name"); fi
}

# selected BINARY FILTER: the tests that the filter selects; none of them is a failure.
selected() {
  local out rc
  out=$("$1" --gtest_brief=1 --gtest_filter="$2" 2>&1)
  rc=$?
  echo "$out"
  [ $rc = 0 ] && ! grep -q '^\[==========\] 0 tests' <<<"$out"
}

# build PRESET TARGET...: nothing can be tested when it fails.
build() {
  local preset=$1 start=$SECONDS
  shift
  cmake --preset "$preset" -DGRAFT_WERROR=ON ${GRAFT_UNITY:+-DGRAFT_UNITY=$GRAFT_UNITY -DGRAFT_UNITY_TESTS=ON} \
    -DGRAFT_AVX2_ALONE=${GRAFT_AVX2_ALONE:-OFF} >"$logs/configure" 2>&1 || { cat "$logs/configure"; echo "configuring $preset failed"; exit 1; }
  cmake --build --preset "$preset" ${@:+--target "$@"} >"$logs/build" 2>&1 || { tail -40 "$logs/build"; echo "building $preset failed"; exit 1; }
  echo "built preset $preset in $((SECONDS - start)) s"
}

# run_ctest NAME DIR ARGS...: a folder's tests; counts what passed, failed and was skipped. $skipped_tests: the names of the skipped.
run_ctest() {
  local name=$1 dir=$2 all bad out
  shift 2
  rm -f "$logs/junit.xml"
  ctest --test-dir "$dir" -j "$cores" --output-on-failure --timeout 600 --output-junit "$logs/junit.xml" "$@" 2>&1 |
    grep -vE '^ *(Start )? *[0-9]+(/[0-9]+)?( Test +#[0-9]+)?: .*( Passed .*|[A-Za-z0-9_/.]+)$'
  all=$(grep -oE '\btests="[0-9]+"' "$logs/junit.xml" 2>/dev/null | head -1 | tr -dc 0-9)
  bad=$(grep -oE '\bfailures="[0-9]+"' "$logs/junit.xml" 2>/dev/null | head -1 | tr -dc 0-9)
  out=$(grep -oE '\bskipped="[0-9]+"' "$logs/junit.xml" 2>/dev/null | head -1 | tr -dc 0-9)
  if [ -z "$all" ] || [ "$all" = 0 ]; then
    failed=$((failed + 1)) failures+=("$name: no test ran")
    return
  fi
  passed=$((passed + all - bad - out)) failed=$((failed + bad)) skipped=$((skipped + out))
  skipped_tests=$(grep -oP '<testcase name="\K[^"]*(?=".* status="notrun")' "$logs/junit.xml" | tr '\n' '|')
  [ "$bad" = 0 ] || failures+=("$name: $bad")
}

# The comparison with the reference's releases; its last line has the counts.
run_interop() {
  local counts p f s
  python3 tests/interop/run.py | tee "$logs/interop"
  counts=$(grep -oE '^interop: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$logs/interop" | tr -dc '0-9 ')
  read -r p f s <<<"${counts:-0 1 0}"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  [ "$f" = 0 ] || failures+=("interop: $f")
}

# The last commit that has landed; what differs from it is what clang-tidy looks at.
landed() { git rev-parse --verify -q origin/main || git rev-parse --verify -q HEAD~1; }

if [ "$tier" = interop ]; then
  scripts/install-deps.sh --dev --interop || exit 1
else
  scripts/install-deps.sh --dev || exit 1
fi

# The real checkpoint, found once for all tests; without one its tests skip (with GRAFT_REQUIRE_CHECKPOINT they fail).
export GRAFT_CHECKPOINT=${GRAFT_CHECKPOINT-$(scripts/get-model.sh | tail -1)}

say "build"
if [ "$tier" = interop ]; then build release graft_cli; else build release; fi

if [ "$tier" = interop ]; then
  say "interop"
  run_interop
else
  say "includes, format"
  check layers tools/check_layers.sh
  check format tools/check_format.sh

  say "tests"
  if [ "$tier" = slow ]; then run_ctest tests build; else run_ctest tests build -L fast; fi
fi

if [ "$tier" = default ] || [ "$tier" = slow ]; then
  say "the commands of README.md print what it shows"
  if [ -z "$GRAFT_CHECKPOINT" ]; then
    echo "skipped: they need the checkpoint all-MiniLM-L6-v2, which no source has"
    skipped=$((skipped + 1))
  elif [ "$tier" = slow ]; then
    check docs tools/check_docs.py build --slow README.md docs/results.md
  else
    check docs tools/check_docs.py build README.md
  fi

  say "quickstart.sh by the bundled model alone"
  check quickstart tools/check_quickstart.sh build

  # What reads a stranger's files, the operations and the training loop; --slow takes all.
  folders="base hub data operations trainer"
  seconds=3
  if [ "$tier" = slow ]; then folders="$folders text report engine models generate tasks train capi pipeline cli" seconds=60; fi
  export LSAN_OPTIONS="suppressions=$PWD/tests/fuzz/leaks.txt:print_suppressions=0"
  say "clang, address and undefined behaviour sanitizers: $folders"
  # In the slow tier every source of the library is compiled on its own: what the unity build hides (a missing include) fails.
  # The kernels of all instruction sets are compiled there, too.
  export GRAFT_UNITY=ON GRAFT_AVX2_ALONE=ON
  [ "$tier" != slow ] || GRAFT_UNITY=OFF GRAFT_AVX2_ALONE=OFF
  build asan fuzzers $(printf 'test_%s ' $folders)
  # RowMemory measures memory, which a sanitizer multiplies. Of the head sizes the one that is no multiple of a vector.
  unwanted='^RowMemory[.]'
  [ "$tier" = slow ] || unwanted="$unwanted|ParityBf16|HeadDim(8|64)\$"
  # What the release build skipped lacks its files here, too.
  [ -z "$skipped_tests" ] || unwanted="$unwanted|^(${skipped_tests%|})\$"
  run_ctest "asan" build-asan/tests -L "^fast-(${folders// /|})\$" -E "$unwanted"

  say "clang-tidy on what changed"
  [ "$tier" != slow ] || export TIDY_SECONDS=3600
  check tidy tools/check_tidy.sh build "$(landed)"

  say "fuzzing, $seconds s each"
  for target in build-asan/tests/fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    while [ "$(jobs -rp | wc -l)" -ge "$cores" ]; do wait -n; done
    { tools/fuzz.sh "$target" "$seconds" && touch "$logs/passed.$(basename "$target")"; } &
  done
  wait
  for target in build-asan/tests/fuzz/fuzz_*; do
    if [ -f "$target" ] && [ -x "$target" ]; then check "$(basename "$target")" test -e "$logs/passed.$(basename "$target")"; fi
  done
fi

if [ "$tier" = slow ]; then
  say "the benches compile"
  cmake --preset release -DGRAFT_BENCH=ON >/dev/null
  check benches cmake --build --preset release
  cmake --preset release -DGRAFT_BENCH=OFF >/dev/null
  # Callers of the Pipeline, the Trainer and the pool's helpers; not oneDNN, which is not instrumented.
  say "thread sanitizer over Pipeline, Trainer and the pool of threads"
  build tsan test_pipeline test_base test_text test_train test_trainer
  export TSAN_OPTIONS=ignore_noninstrumented_modules=1
  check tsan_pipeline selected build-tsan/tests/capi/test_pipeline '-*Slow*'
  check tsan_trainer selected build-tsan/tests/train/test_trainer 'TrainerTest*:Accumulation*:-*Slow*'
  check tsan_checkpoint selected build-tsan/tests/train/test_train 'Checkpoint.*:-*Slow*'
  check tsan_pool selected build-tsan/tests/base/test_base 'Threads*'
  check tsan_text selected build-tsan/tests/text/test_text 'ScratchPool*:Batch*'
fi

say "summary"
[ ${#failures[@]} -eq 0 ] || printf 'failed: %s\n' "${failures[@]}"
if [ "$skipped" -gt 0 ] && [ -d "${GRAFT_SHARED:-../shared}" ]; then
  echo "skipped tests are a failure where ../shared exists"
  failures+=("skipped")
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ ${#failures[@]} -eq 0 ]
