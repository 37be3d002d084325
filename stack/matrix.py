"""Runs the default tests with each supported TensorFlow, in an environment of its own, and prints a table of them.

    make matrix                               all members; some five minutes each, on two cores
    make matrix MEMBERS="3.12:2.17 3.9:2.14"  these pairs of a Python and a TensorFlow
    make matrix MEMBERS="--keep outputs/matrix"  keeps the environments there for the next run

Otherwise each environment (2.7 GB) lies in a temporary folder and is removed after its tests.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = (
    *("3.9:2.14", "3.10:2.14", "3.11:2.14", "3.11:2.15", "3.12:2.16", "3.11:2.17", "3.12:2.17"),
    *("3.12:2.18", "3.12:2.19", "3.13:2.20", "3.13:2.21"),
)
PACKAGES = ("tensorflow", "tf-keras", "tensorflow-probability", "tensorflow-compression-ops", "numpy")
VERSIONS = f"""
from importlib import metadata
found = {{d.metadata["Name"].lower().replace("_", "-"): d.version for d in metadata.distributions()}}
print(*(found.get(name, "-") for name in {PACKAGES}))
"""


def member(text):
    python, _, tensorflow = text.partition(":")
    if not tensorflow:
        raise argparse.ArgumentTypeError(f"{text!r} is no pair such as 3.12:2.17")
    return python, tensorflow


def measure(python, tensorflow, folder):
    """Versions, the counts of outcomes, and the names of the tests that failed; or why there is no environment."""
    if shutil.which(f"python{python}") is None or subprocess.run([f"python{python}", "-c", ""]).returncode:
        return f"python{python} is not installed"
    folder.mkdir(parents=True, exist_ok=True)
    environment = folder / "venv"
    setting = [f"PYTHON=python{python}", f"TF={tensorflow}", f"VENV={environment}"]
    built = subprocess.run(["make", "-C", str(ROOT), *setting, "venv"], capture_output=True, text=True)
    if built.returncode:
        return "no environment: " + (built.stderr.strip().splitlines() or ["make failed"])[-1]
    program = str(environment / "bin" / "python")
    versions = subprocess.run([program, "-c", VERSIONS], capture_output=True, text=True, check=True).stdout.split()
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    tests = ["-q", "-n", "2", "--dist", "worksteal", "-m", "not slow and not thorough", f"--junitxml={report}"]
    subprocess.run([program, "-m", "pytest", *tests], cwd=ROOT, stdout=sys.stderr, env={**os.environ, "COLUMNS": "120"})
    if not report.exists():
        return "pytest did not run"
    outcomes, failed = Counter(), []
    for case in ET.parse(report).iter("testcase"):
        kind = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        outcomes[kind] += 1
        if kind in ("failure", "error"):
            failed.append(f"{case.get('classname', '').removeprefix('tests.')}.{case.get('name')}")
    return versions, outcomes, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("members", nargs="*", type=member, default=[member(text) for text in MEMBERS], help="such as 3.12:2.17")
    add("--keep", type=Path, help="folder that keeps the environments, each under its member's name")
    args = parser.parse_args()
    failures = []
    print("| Python |", " | ".join(PACKAGES), "| passed | failed | skipped |")
    print("| --- |" + " --- |" * (len(PACKAGES) + 3), flush=True)
    for python, tensorflow in args.members:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.keep.absolute() / f"{python}-{tensorflow}" if args.keep else Path(temporary)
            found = measure(python, tensorflow, folder)
        if isinstance(found, str):
            print(f"| {python} | {tensorflow} | {found} |", flush=True)
            failures.append(found)
            continue
        versions, outcomes, failed = found
        counts = outcomes["passed"], outcomes["failure"] + outcomes["error"], outcomes["skipped"]
        print(f"| {python} |", " | ".join([*versions, *map(str, counts)]), "|", flush=True)
        failures.extend(f"Python {python}, TensorFlow {tensorflow}: {name}" for name in failed)
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
