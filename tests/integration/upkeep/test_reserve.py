"""The reserve on a real disk: a small one in memory, where this user may mount one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd.errors import DiskFullError
from jobd.reserve import Reserve, look

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 16 MiB and 400 files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=400", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a disk in memory")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_room_on_a_real_disk(tmp_path: Path):
    """The state directory's file system answers with sizes that fit together."""
    room = look(tmp_path)
    assert 0 < room.free_bytes <= room.all_bytes
    assert 0 <= room.free_files <= room.all_files


def test_a_disk_that_fills_is_short_and_then_not(disk: Path):
    """Below the reserve there is a shortage; as soon as there is room again there is none."""
    reserve = Reserve(disk, 4 * MIB)
    reserve.check()
    (disk / "big").write_bytes(bytes(13 * MIB))
    with pytest.raises(DiskFullError, match=r"3.0 MiB are free on the disk of .*, 4.0 MiB are kept free"):
        reserve.check()
    (disk / "big").unlink()
    reserve.check()
    with pytest.raises(DiskFullError, match=r"13\.0 MiB are needed"):
        reserve.check(13 * MIB)


def test_a_disk_without_room_for_names_is_short(disk: Path):
    """By default 5 % of the names that fit are kept, whatever the bytes."""
    for number in range(400 - 20):
        (disk / str(number)).touch()
    assert "files more fit on the disk" in Reserve(disk).shortage()
    (disk / "0").unlink()
    (disk / "1").unlink()
    assert Reserve(disk).shortage() == ""
