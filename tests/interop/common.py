"""What every check shares: running graft, comparing numbers, counting cases. The standard library only."""
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
GRAFT = os.environ.get("GRAFT", str(PROJECT / "build" / "graft"))
SHARED = Path(os.environ.get("GRAFT_SHARED", PROJECT.parent / "shared"))
TOLERANCE = 1e-5  # of a probability, and relative of a loss


class GraftError(Exception):
    """graft exited with an error; the text is its last lines on stderr."""


def graft(verb, *options, stdin=None):
    """Runs the program and returns its stdout. Options are name=value pairs in dicts or plain strings."""
    command = [GRAFT, verb]
    for option in options:
        if isinstance(option, dict):
            for name, value in option.items():
                command += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
        else:
            command.append(option)
    done = subprocess.run(command, input=stdin, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise GraftError(" | ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}")
    return done.stdout


def json_lines(text):
    return [json.loads(line) for line in text.split("\n") if line]


def worst_difference(a, b):
    """The largest absolute difference of two nested lists of numbers; infinite when their shapes differ."""
    if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
        if not isinstance(a, (list, tuple)) or not isinstance(b, (list, tuple)) or len(a) != len(b):
            return float("inf")
        return max((worst_difference(x, y) for x, y in zip(a, b)), default=0.0)
    difference = abs(a - b)
    return difference if difference == difference else float("inf")


def relative(got, want):
    """|got - want| over max(1, |want|); infinite for what is no number."""
    difference = abs(got - want) / max(1.0, abs(want))
    return difference if difference == difference else float("inf")


class Counter:
    """Counts the cases of one program; its last line is read by run.py."""

    def __init__(self, title):
        self.title, self.passed, self.failed, self.skipped, self.worst = title, 0, 0, 0, 0.0
        self.notes = {}

    def case(self, name, problems):
        """A case with a list of problems; none means that it passed."""
        if not problems:
            self.passed += 1
            return
        self.failed += 1
        if self.failed <= 20:
            print(f"FAILED {self.title}: {name}")
            for problem in problems[:4]:
                print(f"    {problem}")
            sys.stdout.flush()

    def skip(self, reason):
        self.skipped += 1
        print(f"skipped {self.title}: {reason}")

    def difference(self, value):
        self.worst = max(self.worst, value)

    def count(self, what, n=1):
        """Adds to what the closing line says was compared."""
        self.notes[what] = self.notes.get(what, 0) + n

    def finish(self):
        compared = ", ".join(f"{n} {what}" for what, n in self.notes.items())
        print(f"{self.title}: compared {compared or 'nothing'}; worst difference {self.worst:.2g}")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed or not self.passed + self.skipped else 0)


def run_cases(title, names, check):
    """A case for each name: check(counter, name) gives its problems, and what it throws is one."""
    counter = Counter(title)
    for name in names:
        try:
            problems = check(counter, name)
        except Exception as error:  # whatever is thrown is the finding
            problems = [f"{type(error).__name__}: {error}"]
        counter.case(name, problems)
    counter.finish()
