"""How far a log may be shown. Beside the log of an entry that was given secrets stands up to where they are masked."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

_BYTES, _SUFFIX = 8, ".masked"


def mark_path(log: Path) -> Path:
    """Give the file that stands beside a log which is masked."""
    return log.with_suffix(_SUFFIX)


def write_mark(fd: int, end: int) -> None:
    """Write, into the open file beside a log, up to where it is masked; all readers see that at once or not yet."""
    os.pwrite(fd, end.to_bytes(_BYTES, "little"), 0)


def shown_size(log: Path, size: int) -> int:
    """Give how many bytes of a log of this size may be shown: all of them where it is not one that is masked."""
    try:
        mark = mark_path(log).read_bytes()
    except FileNotFoundError:
        return size
    return min(size, int.from_bytes(mark[:_BYTES], "little"))


def read_marks(logs: Path) -> dict[Path, bytes]:
    """Give how far each log in a folder of logs may be shown, by the path of its mark within the folder.

    The job may be deleted meanwhile; what is gone has no mark.
    """
    marks = {}
    for folder, _folders, names in os.walk(logs):  # which goes on where a folder has gone, unlike a glob
        for name in names:
            path = Path(folder, name)
            if path.suffix == _SUFFIX:
                with contextlib.suppress(FileNotFoundError):
                    marks[path.relative_to(logs)] = path.read_bytes()
    return marks


def put_back_marks(logs: Path, marks: Mapping[Path, bytes]) -> None:
    """Have no log in a copied folder shown further than `marks`, which were read before it was copied, say."""
    for path in logs.rglob(f"*{_SUFFIX}"):
        path.write_bytes(marks.get(path.relative_to(logs), bytes(_BYTES)))
