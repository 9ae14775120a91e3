#!/usr/bin/env bash
# clang-tidy on the .cpp files of src and examples that differ from a commit, newest first, for at most two minutes ($TIDY_SECONDS).
# Findings fail when every file was reached. A change that is too large for the time gets them as a report: which files were reached
# depends on the machine, and a verdict must not. `test.sh --slow` gives the time.
#   tools/check_tidy.sh BUILD_DIR COMMIT [FILE...]     files given are checked whether they changed or not
# BUILD_DIR has been built, so that its compile_commands.json has every source (cmake/compile_database.cmake).
set -uo pipefail
cd "$(dirname "$0")/.."
build=$1 commit=$2
shift 2
export build
command -v clang-tidy-14 >/dev/null || { echo "tidy: clang-tidy-14 is not installed, nothing was checked; run scripts/install-deps.sh --dev"; exit 1; }
if [ $# -gt 0 ]; then
  files=("$@")
else
  [ -n "$commit" ] || { echo "tidy: no earlier commit to compare with, nothing was checked"; exit 0; }
  mapfile -t files < <({ git diff --name-only --diff-filter=d "$commit" -- 'src/*.cpp' 'examples/*.cpp'
                         git ls-files -o --exclude-standard -- 'src/*.cpp' 'examples/*.cpp'; } | sort -u | xargs -r ls -t)
fi
[ ${#files[@]} -gt 0 ] || { echo "tidy: no source file changed"; exit 0; }

export started=$(date +%s) logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
tidy_one() {
  local log="$logs/${1//\//_}"
  if [ $(($(date +%s) - started)) -ge "${TIDY_SECONDS:-120}" ]; then echo "$1" >"$log.late"; return; fi
  clang-tidy-14 --quiet -p "$build" "$1" >"$log.out" 2>/dev/null || echo "$1" >"$log.bad"
}
export -f tidy_one
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -I{} bash -c 'tidy_one {}'
late=$(cat "$logs"/*.late 2>/dev/null | wc -l)
echo "tidy: $((${#files[@]} - late)) of ${#files[@]} changed files checked$([ "$late" = 0 ] || echo ", $late not reached in the time")"
compgen -G "$logs/*.bad" >/dev/null || exit 0
for bad in "$logs"/*.bad; do grep -E '(error|warning):' "${bad%.bad}.out" | sort -u || cat "${bad%.bad}.out"; done
[ "$late" != 0 ]
