"""What the scripts with a table of rows have in common: the options, a run of graft, and the lines of markdown. The standard library only."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GRAFT_SHARED", HERE.parent / "shared")) / "data"


def run(name, command):
    """Prints the command and returns what it prints."""
    command = [str(part) for part in command]
    print("$ " + " ".join(command), file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: {' '.join(command[:2])} failed with exit code {done.returncode}")
    return done.stdout


def run_graft(name, command, results):
    """Prints the command, its table and its time, and returns the json file `results`."""
    start = time.monotonic()
    printed = run(name, command)
    print(f"\n## {name} ({time.monotonic() - start:.0f} s)\n\n{printed}", flush=True)
    return json.loads(Path(results).read_text(encoding="utf-8"))


def table(usage, rows, run, markdown, header, options=()):
    """Runs the rows of the command line and prints the table. `rows`: by name. `run`(name, row, args, work) returns the results of a row,
    `markdown`(name, results) its line. `options`: (name, arguments of add_argument) of the script's own. Unknown options are those of graft
    (args.more)."""
    parser = argparse.ArgumentParser(usage=usage)
    parser.add_argument("--graft", default=str(HERE / "build" / "graft"))
    parser.add_argument("--model", default=str(HERE / "models" / "all-MiniLM-L6-v2"))
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--work")
    for name, arguments in options:
        parser.add_argument(name, **arguments)
    parser.add_argument("rows", nargs="*", default=list(rows))
    args, args.more = parser.parse_known_args()
    for name in [n for n in args.rows if n not in rows]:
        parser.error(f"{name} is no row; rows: {' '.join(rows)}")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(args.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        lines = [markdown(name, run(name, rows[name], args, work)) for name in args.rows]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}\n" + "\n".join(lines))
