#!/usr/bin/env bash
# clang-format over every source file; prints the files that differ. Debian 12's clang-format 14 is the measure.
set -uo pipefail
cd "$(dirname "$0")/.."
format=$(command -v clang-format-14) || { echo "format: clang-format-14 is not installed; scripts/install-deps.sh --dev"; exit 1; }
mapfile -t files < <(git ls-files -co --exclude-standard -- '*.cpp' '*.h' '*.c' '*.cu')
export format
bad=$(printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 16 bash -c \
  'for file; do "$format" --dry-run -Werror "$file" >/dev/null 2>&1 || echo "$file"; done' _ | sort)
[ -z "$bad" ] && { echo "format: ${#files[@]} files as clang-format wants them"; exit 0; }
echo "format: these files differ (clang-format-14 -i FILE):"
echo "$bad"
exit 1
