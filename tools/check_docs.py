#!/usr/bin/env python3
"""Runs the commands of README.md and docs/*.md and compares what they print with what the page shows.

tools/check_docs.py BUILD_FOLDER [--slow] PAGE...

A block that is fenced as ```console holds lines "$ command" (continued after a backslash) and the output that they print; a
line "..." stands for any lines. Blocks fenced as ```console slow run only with --slow (they need ../shared and many minutes).
The blocks of a page run in order, in one folder that shows the project's files and has a results folder of its own.

Two texts are equal when all but their numbers is. Integers are equal; processors and seeds of libraries move the rest:
percentages and points by up to 15 (another processor is another seed: a small network on 492 reviews moves by ten), means of correct
answers by 22, numbers with decimals by 0.15 or a tenth, megabytes by a fifth. Times and rates are not
compared. Folders inside the project count from its root.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
NUMBER = re.compile(r"(?<![A-Za-z_\d.])([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![A-Za-z_\d])")
TIME = re.compile(r"^ ?(s|ms|min|tokens/s|examples/s)\b")


def blocks(page, slow):
    """(line, command, expected lines) of a page."""
    fence, command = None, None
    for number, line in enumerate(page.read_text().split("\n"), 1):
        if line.startswith("```"):
            if command:
                yield command
                command = None
            fence = None if fence else line[3:].strip()
            continue
        if fence != "console" and not (fence == "console slow" and slow):
            continue
        if command and command[1].endswith("\\"):
            command = (command[0], command[1][:-1] + line.strip(), [])
        elif line.startswith("$ "):
            if command:
                yield command
            command = (number, line[2:], [])
        elif command:
            command[2].append(line)


def close(expected, got, after):
    if TIME.match(after):
        return float(got) >= 0
    a, b = float(expected), float(got)
    if re.match(r"( - \d+)? ?(%|points)", after):
        return abs(a - b) <= 15
    if re.match(r" ?(MB|GB)", after):
        return abs(a - b) <= 0.2 * abs(a)
    if re.fullmatch(r"[+-]?\d+", expected):
        return a == b
    return abs(a - b) <= (22 if after.startswith(" of ") else max(0.15, 0.1 * abs(a)))


def same(expected, got):
    """Equal but for numbers that are close."""
    if expected == got:
        return True
    parts, others = NUMBER.split(expected), NUMBER.split(got)
    if len(parts) != len(others):
        return False
    for i, (part, other) in enumerate(zip(parts, others)):
        if i % 2 == 0:
            if re.sub(r"\s+", " ", part) != re.sub(r"\s+", " ", other):
                return False
        elif not close(part, other, "".join(parts[i + 1:])):
            return False
    return True


def first_missing(expected, output):
    """The first expected line that the output does not hold in this order, or None."""
    at, anywhere = 0, True
    for line in expected:
        if line.strip() == "...":
            anywhere = True
            continue
        if not line.strip():
            continue
        while at < len(output) and (not output[at].strip() or (anywhere and not same(line.rstrip(), output[at].rstrip()))):
            at += 1
        if at == len(output) or not same(line.rstrip(), output[at].rstrip()):
            return line
        at, anywhere = at + 1, False
    return None


def check(page, build, slow):
    failures = count = 0
    with tempfile.TemporaryDirectory() as parent:
        folder = os.path.join(os.path.realpath(parent), "graft")
        os.mkdir(folder)
        os.symlink(os.environ.get("GRAFT_SHARED", ROOT.parent / "shared"), os.path.join(parent, "shared"))
        for entry in ROOT.iterdir():
            if entry.name not in ("results", "build", ".git"):
                os.symlink(entry, pathlib.Path(folder) / entry.name)
        os.symlink(build, pathlib.Path(folder) / "build")
        env = {**os.environ, "PATH": f"{build}:{os.environ['PATH']}", "GRAFT_BUILD": "build"}
        for line, command, expected in blocks(page, slow):
            count += 1
            done = subprocess.run(["bash", "-c", command], cwd=folder, env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace")
            output = done.stdout.replace(folder + "/", "").split("\n")
            missing = first_missing(expected, output)
            if missing is not None:
                failures += 1
                print(f"{page.relative_to(ROOT)}:{line}: $ {command}\n  expected: {missing}\n  printed:\n    " +
                      "\n    ".join(output[-60:]), flush=True)
    print(f"{page.relative_to(ROOT)}: {count} commands, {failures} differ", flush=True)
    return failures == 0 and count > 0


def main():
    arguments = sys.argv[1:]
    slow = "--slow" in arguments
    arguments = [a for a in arguments if a != "--slow"]
    if len(arguments) < 2:
        sys.exit(__doc__)
    build = pathlib.Path(arguments[0]).resolve()
    ok = [check(ROOT / page, build, slow) for page in arguments[1:]]
    sys.exit(0 if all(ok) else 1)


if __name__ == "__main__":
    main()
