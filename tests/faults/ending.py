"""What must hold of an installation at its end: I1, I10, I14 and I15."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ledger
from world import CANARY_VALUE, World

_SPARE = 12
"""So many descriptors or threads more than a fresh daemon's may a long-lived one have."""


def check_end(world: World) -> Iterator[str]:
    """Compare the daemon with a fresh one, then look at all that it leaves on disk."""
    old = _size(world.pid)
    world.stop()
    world.start()
    new = _size(world.pid)
    if any(one > other + _SPARE for one, other in zip(old, new, strict=True)):
        yield f"I10 the daemon has {old[0]} descriptors and {old[1]} threads, a fresh one {new[0]} and {new[1]}"
    world.stop()
    yield from _check_accepted(world)
    yield from _check_integrity(world)
    yield from _check_modes(world.state)
    yield from _check_secrets(world.state)
    yield from (f"I14 {line.key} saw a variable of the daemon's" for line in ledger.read(world.ledger) if _saw(line))


def _size(pid: int) -> tuple[int, int]:
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), len(list(Path(f"/proc/{pid}/task").iterdir()))


def _saw(line: ledger.Line) -> bool:
    return line.kind == "secret"


def _check_accepted(world: World) -> Iterator[str]:
    """I1: every answer named a job that is there, and nothing is there that nobody asked for."""
    connection = sqlite3.connect(f"file:{world.state / 'jobd.db'}?mode=ro", uri=True, timeout=30)
    try:
        stored = {row[0] for row in connection.execute("SELECT id FROM jobs")}
    finally:
        connection.close()
    if stored != world.accepted:
        yield f"I1 {sorted(world.accepted - stored)} were accepted and are gone, {sorted(stored - world.accepted)} are"
        yield "there twice or unasked"


def _check_integrity(world: World) -> Iterator[str]:
    """I15: the store is whole, and the product's own check agrees with ours."""
    connection = sqlite3.connect(world.state / "jobd.db", timeout=30)
    try:
        for question in ("PRAGMA integrity_check", "PRAGMA foreign_key_check"):
            told = [row for row in connection.execute(question) if row != ("ok",)]
            if told:
                yield f"I15 {question}: {told[:3]}"
    finally:
        connection.close()
    command = [*world.machine.prefix, sys.executable, "-m", "jobd", "check", f"--state-dir={world.state}"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=world.environment(), cwd=world.folder
    )
    if done.returncode != 0:
        yield f"I15 jobd check ends with {done.returncode}: {(done.stdout + done.stderr)[-600:]}"


def _check_modes(state: Path) -> Iterator[str]:
    """I14: nobody else may read what the daemon keeps: its folder is closed, and its own files besides."""
    if stat.S_IMODE(state.stat().st_mode) & 0o077:
        yield f"I14 {state} is open to others"
    for path in state.iterdir():
        if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield f"I14 {path} is open to others: {stat.S_IMODE(path.stat().st_mode):o}"


def _check_secrets(state: Path) -> Iterator[str]:
    """I14: nothing of the daemon's environment is written down anywhere."""
    for folder, _folders, files in os.walk(state):
        for name in files:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and CANARY_VALUE.encode() in path.read_bytes():
                yield f"I14 {path} holds a variable of the daemon's"
