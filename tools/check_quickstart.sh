#!/usr/bin/env bash
# quickstart.sh ends well without a source of the real checkpoint: exit code 0, the table, three languages, nothing left in TMPDIR.
#   tools/check_quickstart.sh BUILD
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/models" "$copy/scripts" "$copy/tmp"
cp -r quickstart.sh examples "$copy"
cp -r models/graft-mini "$copy/models"
printf '#!/bin/sh\necho "no source" >&2\nexit 1\n' >"$copy/scripts/get-model.sh"
chmod +x "$copy/scripts/get-model.sh"
code=0
TMPDIR="$copy/tmp" GRAFT_BUILD=$build "$copy/quickstart.sh" >"$copy/log" 2>&1 || code=$?
failed() {
  cat "$copy/log"
  echo "error: quickstart.sh $1" >&2
  exit 1
}
[ "$code" = 0 ] || failed "ended with exit code $code"
for line in "always the larger class" "bundled graft-mini" "German " "French " "Spanish " "Total: "; do
  grep -q "^ *$line.*[0-9]" "$copy/log" || failed "has no line '$line'"
done
[ -z "$(ls "$copy/tmp")" ] || failed "left $(ls "$copy/tmp") in TMPDIR"
