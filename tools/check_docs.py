#!/usr/bin/env python3
"""Runs the commands of README.md and docs/*.md and compares what they print with what the page shows.

tools/check_docs.py BUILD_FOLDER [--slow] PAGE...

A block that is fenced as ```console holds lines "$ command" (continued after a backslash) and the output that they print; a
line "..." stands for any lines. Blocks fenced as ```console slow run only with --slow (they need ../shared and many minutes).
The blocks of a page run in order, in one folder that shows the project's files and has a results folder of its own.

Two texts are equal when all but their numbers is. Integers are equal. A processor that rounds otherwise trains otherwise, as another
seed would: percentages and points may differ by 2, or by N where the fence says ```console points=N, and means of correct answers by
the same share; WORD=N in the fence is for the lines that hold the word. Other numbers with decimals may differ by 0.02 or a twentieth,
or by 0.15 where the fence has points=N; megabytes, which depend on the kernels, by a fifth, or by N percent of WORD=N. Times and rates are not compared. Folders inside the project count from its root.
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
    """(line, command, expected lines, points) of a page."""
    fence, command, points = None, None, {"": 2.0}
    for number, line in enumerate(page.read_text().split("\n"), 1):
        if line.startswith("```"):
            if command:
                yield command
                command = None
            words = [] if fence else line[3:].split()
            fence = " ".join(w for w in words if "=" not in w)
            points = {"": 2.0, **{w.split("=")[0].removesuffix("points"): float(w.split("=")[1]) for w in words if "=" in w}}
            continue
        if fence != "console" and not (fence == "console slow" and slow):
            continue
        if command and command[1].endswith("\\"):
            command = (command[0], command[1][:-1] + line.strip(), [], points)
        elif line.startswith("$ "):
            if command:
                yield command
            command = (number, line[2:], [], points)
        elif command:
            command[2].append(line)


def close(expected, got, after, points):
    if TIME.match(after):
        return float(got) >= 0
    a, b = float(expected), float(got)
    if re.match(r"( - \d+)? ?(%|points)", after):
        return abs(a - b) <= points
    if re.match(r" ?(MB|GB)", after):
        return abs(a - b) <= max(20, points) / 100 * abs(a)
    if re.fullmatch(r"[+-]?\d+", expected):
        return a == b
    if of := re.match(r" of (\d+)", after):
        return abs(a - b) <= points / 100 * float(of.group(1))
    return abs(a - b) <= max(0.15 if points > 2 else 0.02, 0.05 * abs(a))


def same(expected, got, points):
    """Equal but for numbers that are close."""
    if expected == got:
        return True
    allowed = next((n for word, n in points.items() if word and word in expected), points[""])
    parts, others = NUMBER.split(expected), NUMBER.split(got)
    if len(parts) != len(others):
        return False
    for i, (part, other) in enumerate(zip(parts, others)):
        if i % 2 == 0:
            if re.sub(r"\s+", " ", part) != re.sub(r"\s+", " ", other):
                return False
        elif not close(part, other, "".join(parts[i + 1:]), allowed):
            return False
    return True


def first_missing(expected, output, points):
    """The first expected line that the output does not hold in this order, or None."""
    at, anywhere = 0, True
    for line in expected:
        if line.strip() == "...":
            anywhere = True
            continue
        if not line.strip():
            continue
        while at < len(output) and (not output[at].strip() or (anywhere and not same(line.rstrip(), output[at].rstrip(), points))):
            at += 1
        if at == len(output) or not same(line.rstrip(), output[at].rstrip(), points):
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
        for line, command, expected, points in blocks(page, slow):
            count += 1
            done = subprocess.run(["bash", "-c", command], cwd=folder, env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace")
            output = done.stdout.replace(folder + "/", "").split("\n")
            missing = first_missing(expected, output, points)
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
