"""How far a log may be shown. Beside the log of an entry that was given secrets stands up to where they are masked."""

import os
from collections.abc import Mapping
from pathlib import Path

_BYTES = 8


def mark_path(log: Path) -> Path:
    """Give the file that stands beside a log which is masked."""
    return log.with_suffix(".masked")


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
    """Give how far each log in a folder of logs may be shown, by the path of its mark within the folder."""
    return {path.relative_to(logs): path.read_bytes() for path in logs.rglob("*.masked")}


def put_back_marks(logs: Path, marks: Mapping[Path, bytes]) -> None:
    """Have no log in a copied folder shown further than `marks`, which were read before it was copied, say."""
    for path in logs.rglob("*.masked"):
        path.write_bytes(marks.get(path.relative_to(logs), bytes(_BYTES)))
