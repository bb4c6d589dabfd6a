"""Removes the folder that it works in, and the one for temporary files."""

import os
import shutil
from pathlib import Path

shutil.rmtree(Path.cwd())
shutil.rmtree(os.environ["TMPDIR"])
