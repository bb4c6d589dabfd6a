"""A module whose course a test decides: it tells how far it is, and goes on when a named pipe lets it."""

import argparse
from pathlib import Path

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--source", type=Path, required=True)
parser.add_argument("--target", type=Path, required=True)
parser.add_argument("--gates", type=Path, required=True)
options = parser.parse_args()

print("openjd_progress: 10", flush=True)
(options.gates / "1").read_bytes()
print("openjd_progress: 50", flush=True)
(options.gates / "half").touch()
(options.gates / "2").read_bytes()
options.target.write_bytes(options.source.read_bytes())
print("openjd_progress: 100", flush=True)
