"""A module whose input and output are folders."""

import argparse
import shutil
from pathlib import Path

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--source", type=Path, required=True)
parser.add_argument("--target", type=Path, required=True)
options = parser.parse_args()
shutil.copytree(options.source, options.target)
(options.target / "added.txt").write_text(f"{len(list(options.source.rglob('*')))} names")
