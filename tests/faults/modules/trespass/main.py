"""A module that leaves a file in every folder of its job, those of the other entries first."""

import contextlib
import os
import sys
from pathlib import Path

here = Path.cwd()
job = next(folder for folder in here.parents if folder.name == os.environ["JOBD_JOB_ID"])
left = 0
for folder in [job / "artifacts", *(path for path in (job / "work").rglob("*") if path.is_dir())]:
    with contextlib.suppress(OSError):
        (folder / "stray").write_text("a stranger was here")
        left += 1
print(f"left {left} files", flush=True)
Path(sys.argv[sys.argv.index("--output") + 1]).write_bytes(b"its own")
