"""Removes the folder that it works in, and the one for temporary files."""

import os
import shutil
from pathlib import Path

if Path(os.environ["TMPDIR"]).parent != Path.cwd().parent:
    raise SystemExit(f"TMPDIR is {os.environ['TMPDIR']}, not beside {Path.cwd()}: nothing is removed")
shutil.rmtree(Path.cwd())
shutil.rmtree(os.environ["TMPDIR"])
