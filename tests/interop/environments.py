"""Makes the environments of pins.toml below .interop/ (kept between runs) and prints their interpreters.

    python3 tests/interop/environments.py [RELEASE...]

GRAFT_INTEROP_DIR names another folder. An environment whose pins changed is made anew.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("GRAFT_INTEROP_DIR", HERE.parent.parent / ".interop"))
PINS = tomllib.loads((HERE / "pins.toml").read_text())


def stamp_of(release):
    """Changes with the pins, with those of the shared environment, and with the interpreter."""
    pins = PINS[release]
    shared = stamp_of(pins["shares"]) if "shares" in pins else ""
    return hashlib.sha256(f"{sys.version}{pins['packages']}{shared}".encode()).hexdigest()


def site_packages(folder):
    return next(folder.glob("lib/python3*/site-packages"))


def make(release):
    """Returns the interpreter of a release's environment; installs it where it is missing or stale."""
    pins, folder = PINS[release], ROOT / release
    stamp, python = folder / "pins.sha256", folder / "bin" / "python3"
    if stamp.exists() and stamp.read_text() == stamp_of(release):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"python3 -m venv failed: {error.stdout.strip()} {error.stderr.strip()}\n"
                 "run scripts/install-deps.sh --interop")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if "shares" in pins:
        # What this environment lacks comes from the shared one, which stands behind it in sys.path.
        shared = make(pins["shares"]).parent.parent
        (site_packages(folder) / "zz_shared.pth").write_text(f"{site_packages(shared)}\n")
        command.append("--no-deps")
    print(f"installing transformers {release} into {folder} (once)", file=sys.stderr, flush=True)
    if subprocess.run(command + pins["packages"]).returncode:
        sys.exit(f"pip could not install the packages of tests/interop/pins.toml for {release}")
    stamp.write_text(stamp_of(release))
    return python


if __name__ == "__main__":
    for name in sys.argv[1:] or PINS:
        print(make(name))
