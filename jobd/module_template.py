"""A new module: a folder that can be run, changed and tested as it stands."""

import json
from pathlib import Path

from jobd.manifest import read_manifest
from jobd.module_check import TargetExistsError

_MANIFEST = """\
name: {name}
description: Copies a file, and says how far it is
entrypoint: main.py
inputs:
  - param_name: input
    type: file
outputs:
  - param_name: output
    type: file
params:
  - name: times
    type: int
    default: 1
    range: [1, 100]
    description: how many copies, one after the other
"""
_SCRIPT = '''\
"""Copies a file, and says how far it is."""

import argparse
from pathlib import Path
from typing import NoReturn


def main() -> None:
    """Write the content of `--input` to `--output`, as often as `--times` says."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--input", type=Path, required=True, help="the file to read")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--times", type=int, default=1, help="how many copies, one after the other")
    options = parser.parse_args()
    content = options.input.read_bytes()
    if not content:
        fail(f"{options.input.name} is empty")
    print("openjd_status: copying", flush=True)
    with options.output.open("wb") as output:
        for number in range(options.times):
            output.write(content)
            print(f"openjd_progress: {100 * (number + 1) / options.times}", flush=True)


def fail(reason: str) -> NoReturn:
    """End with a reason that a person understands; jobd shows it as the cause of the failure."""
    print(f"openjd_fail: {reason}", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
'''
_TEST = '''\
"""Runs the module as jobd does: `python -m unittest` in this folder, or pytest."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).with_name("main.py")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the script with these words in a scratch folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(SCRIPT), *map(str, words)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


class ModuleTest(unittest.TestCase):
    """What the module promises."""

    def setUp(self) -> None:
        """Make a folder for its files."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.source, self.target = Path(folder.name, "in.bin"), Path(folder.name, "out.bin")

    def test_it_copies(self) -> None:
        """The output holds the input so many times, and the last report says that all is done."""
        self.source.write_bytes(b"abc")
        done = run("--input", self.source, "--output", self.target, "--times=2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.target.read_bytes(), b"abcabc")
        self.assertIn("openjd_progress: 100.0", done.stdout)

    def test_it_says_why_it_fails(self) -> None:
        """An empty file is refused with a reason."""
        self.source.touch()
        done = run("--input", self.source, "--output", self.target)
        self.assertEqual(done.returncode, 1)
        self.assertIn("openjd_fail: in.bin is empty", done.stdout)


if __name__ == "__main__":
    unittest.main()
'''


def make_module(name: str, parent: Path) -> Path:
    """Make the folder of a new module below `parent` and give it.

    InvalidDocumentError when no module can have this name, TargetExistsError when the folder is there already.
    """
    manifest = _MANIFEST.format(name=json.dumps(name, ensure_ascii=False))
    read_manifest(manifest.encode(errors="surrogateescape"))
    folder = parent / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise TargetExistsError(f"{folder} is there already: choose another name or --to") from None
    for file, content in (("manifest.yaml", manifest), ("main.py", _SCRIPT), ("test_main.py", _TEST)):
        (folder / file).write_text(content, encoding="utf-8")
    return folder
