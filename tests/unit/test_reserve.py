"""The reserve: how much of a disk stays free, and what is said below that."""

import asyncio
import contextlib
from pathlib import Path

import pytest
import structlog

from jobd import reserve as reserve_module
from jobd.errors import DiskFullError
from jobd.reserve import NO_ROOM, Reserve, Room, keep

GIB = 1 << 30


def reserve(free: int, size: int, wanted: int | None = None, files: tuple[int, int] = (0, 0)) -> Reserve:
    """Give the reserve of a disk of which so much is free."""
    room = Room(free_bytes=free, all_bytes=size, free_files=files[0], all_files=files[1])
    return Reserve(Path("/state"), wanted, look=lambda _path: room)


@pytest.mark.parametrize(
    ("size", "kept"), [(1000 * GIB, GIB), (20 * GIB, GIB), (10 * GIB, GIB // 2), (100 << 20, 5 << 20)]
)
def test_by_default_the_smaller_of_1_gib_and_5_percent_is_kept(size: int, kept: int):
    """A large disk keeps 1 GiB, a small one 5 % of it; one byte less is a shortage."""
    assert reserve(kept, size).shortage() == ""
    assert "are kept free" in reserve(kept - 1, size).shortage()


def test_a_wish_counts_before_the_default():
    """The reserve is what was asked for; 0 keeps nothing and never refuses."""
    assert (
        reserve(99, 1000, wanted=100).shortage() == "99 bytes are free on the disk of /state, 100 bytes are kept free"
    )
    assert reserve(100, 1000, wanted=100).shortage() == ""
    assert reserve(0, 1000, wanted=0, files=(0, 1000)).shortage() == ""


def test_what_is_needed_comes_on_top():
    """Bytes that are about to be used must fit beside the reserve."""
    room = reserve(3 * GIB, 100 * GIB)
    assert room.shortage(2 * GIB) == ""
    assert room.shortage(2 * GIB + 1).startswith("3.0 GiB are free on the disk of /state, 2.0 GiB are needed")


def test_files_can_run_out_before_bytes():
    """A disk with room for bytes and none for names is full too; one that does not count files is not."""
    assert reserve(GIB, GIB, files=(49, 1000)).shortage().startswith("49 files more fit")
    assert reserve(GIB, GIB, files=(50, 1000)).shortage() == ""
    assert reserve(GIB, GIB, files=(9_999, 10**9)).shortage().endswith("10000 are kept free")
    assert reserve(GIB, GIB, files=(0, 0)).shortage() == ""


def test_the_error_says_what_to_do():
    """check raises what a client is told, with a hint, and nothing when there is room."""
    reserve(GIB, GIB).check()
    with pytest.raises(DiskFullError, match=r"the disk is too full: 0 bytes are free .* \(delete jobs"):
        reserve(0, GIB).check()
    assert DiskFullError.reason == "DISK_FULL"


def test_starts_are_held_back_once_and_resumed_once(monkeypatch):
    """While there is a shortage nothing is started; each change is told once, with the reason, and then no more."""
    frees = iter([10, 10, 1, 1, 1, 10, 10, 1])
    told: list[tuple[str, str]] = []

    def look(_path: Path) -> Room:
        free = next(frees, None)
        if free is None:
            raise EOFError  # the end of the story
        return Room(free_bytes=free, all_bytes=100, free_files=0, all_files=0)

    monkeypatch.setattr(reserve_module, "_LOOK_SECONDS", 0.0)
    disk = Reserve(Path("/state"), 5, look=look)
    with contextlib.suppress(EOFError):
        asyncio.run(
            keep(
                disk,
                hold_back=lambda reason: told.append(("hold back", reason)),
                resume=lambda reason: told.append(("resume", reason)),
                log=structlog.get_logger(),
            )
        )
    assert told == [("hold back", NO_ROOM), ("resume", NO_ROOM), ("hold back", NO_ROOM)]


def test_a_disk_with_ample_room_is_looked_at_seldom(monkeypatch):
    """An idle machine is not woken each second for what cannot change so fast; near the edge it is looked at often."""
    frees, pauses = iter([100 * GIB, 12 * GIB, GIB // 2, 100 * GIB]), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    def look(_path: Path) -> Room:
        free = next(frees, None)
        if free is None:
            raise EOFError  # the end of the story
        return Room(free_bytes=free, all_bytes=1000 * GIB, free_files=0, all_files=0)

    monkeypatch.setattr(reserve_module.asyncio, "sleep", pause)
    disk = Reserve(Path("/state"), GIB, look=look)
    silent = {"hold_back": lambda _reason: None, "resume": lambda _reason: None, "log": structlog.get_logger()}
    with contextlib.suppress(EOFError):
        asyncio.run(keep(disk, **silent))
    assert pauses == [5.0, 1.0, 1.0, 5.0]
