"""A sandbox around a module, made by bubblewrap: it reads the system and writes its own folder.

What it cannot see: other processes, the network unless it asked for it, home folders, sockets and temporary files of
the system, and all that the daemon keeps except its own inputs. It is given no capability, whoever it runs as.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jobd import sandbox_init
from jobd.containment import Containment
from jobd.plan import PlanEntry, Sandbox
from jobd.process import Exit

_PROGRAM = "bwrap"
_PROBE_SECONDS = 20.0
_WORLD = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--ro-bind", "/", "/")
_OWN = ("--dev", "/dev", "--proc", "/proc")
_EMPTY = ("/tmp", "/var/tmp", "/run", "/home", "/root")  # noqa: S108 - what lies there is hidden, not used
_RESOLVER = "/run/systemd/resolve"
_GPUS = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")
_SWITCH_USER = ("CAP_SETUID", "CAP_SETGID")
_REPORT = "report/exit"
"""In the scratch folder. The module can write it too, and thereby only lie about itself."""
_REPORT_FORM = re.compile(rb"(-?[0-9]{1,3}) ([0-9]{1,9}(?:\.[0-9]{1,30})?(?:e-[0-9]{1,2})?) ([0-9]{1,18})")
_FAILED = "bwrap: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an entry runs that is put into a sandbox."""

    scratch: Path
    """The one folder that it may write."""
    cwd: Path
    inputs: tuple[Path, ...]
    """Files and folders that it may read although what lies around them is hidden."""
    state: Path
    """The state directory, which is hidden."""


def prefix(entry: PlanEntry, sandbox: Sandbox, place: Place, containment: Containment) -> list[str]:
    """Give the words that, put before the words of a command, have it run in a sandbox."""
    folders = (*sandbox.read, entry.folder, sys.prefix, sys.base_prefix)
    words = [shutil.which(_PROGRAM) or _PROGRAM, *_WORLD, *_OWN]
    words += [] if sandbox.network else ["--unshare-net"]
    hidden = _resolve((*_EMPTY, str(Path.home()), str(place.state), *containment.hidden))
    words += _hide(hidden)
    words += ["--ro-bind-try", _RESOLVER, _RESOLVER] if sandbox.network else []
    shown = _ways_to((*folders, *map(str, place.inputs), sandbox_init.__file__), hidden)
    words += _bind("--ro-bind", shown)
    words += _bind("--dev-bind-try", _gpus()) if entry.resources.gpus else []
    written = _ways_to((str(place.scratch),), hidden)
    words += _bind("--bind", written)
    words += [word for folder in _made((*shown, *written), hidden) for word in ("--chmod", "0755", folder)]
    words += ["--cap-drop", "ALL"]
    words += [word for name in _SWITCH_USER for word in ("--cap-add", name)] if containment.user else []
    return [*words, "--"]


def first_program(place: Place) -> list[str]:
    """Give the words for the first program in the sandbox, to stand before those of the module itself."""
    return [sys.executable, "-I", "-S", sandbox_init.__file__, str(place.scratch / _REPORT), str(place.cwd)]


def make_room(scratch: Path) -> None:
    """Make the folder in which the first program reports."""
    (scratch / _REPORT).parent.mkdir()


def read_exit(scratch: Path, outside: Exit, last_words: Sequence[str]) -> Exit | None:
    """Give how the module itself ended, from how the sandbox did; None when the sandbox could not be made.

    `last_words` are the last lines of the log, where bubblewrap says why it could not.
    """
    found = _REPORT_FORM.fullmatch(_read_report(scratch / _REPORT))
    if found is None:
        # It was killed with all that was in it, or the module has destroyed the report.
        broken = outside.code == 1 and bool(last_words) and last_words[-1].startswith(_FAILED)
        return None if broken else outside
    number = int(found[1])
    return Exit(
        code=number if number >= 0 else None,
        signal=-number if number < 0 else None,
        cpu_seconds=float(found[2]),
        max_rss_bytes=int(found[3]),
    )


def _read_report(path: Path) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 100) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


@cache
def missing() -> str:
    """Say why no sandbox can be made on this machine, by making one; empty where one can."""
    if shutil.which(_PROGRAM) is None:
        return "bubblewrap is not installed: there is no `bwrap` on the PATH"
    command = [
        _PROGRAM,
        *_WORLD,
        *_OWN,
        "--unshare-net",
        "--cap-drop",
        "ALL",
        "--",
        sys.executable,
        "-I",
        "-S",
        "-c",
        "",
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run: {error}"
    reason = " ".join(done.stderr.split())[:300] or f"exit code {done.returncode}"
    return "" if done.returncode == 0 else f"bubblewrap cannot make one here: {reason}"


def _hide(places: Iterable[str]) -> list[str]:
    """Cover folders with empty ones, and sockets with nothing, the outer ones first."""
    words: list[str] = []
    for place in map(Path, sorted(set(places))):
        if place.is_dir():
            words += ["--perms", "1777", "--tmpfs", str(place)]
        elif place.exists():
            words += ["--ro-bind", "/dev/null", str(place)]
    return words


def _resolve(places: Iterable[str]) -> tuple[str, ...]:
    """Give where places are in truth: a link is no place to cover, and what it leads to is open by its own name."""
    return tuple(dict.fromkeys(map(os.path.realpath, places)))


def _ways_to(places: Iterable[str], hidden: Iterable[str]) -> list[str]:
    """Give every path that leads to places in spite of what is hidden: where they are, and links that are covered."""
    covers = [Path(cover) for cover in hidden]
    covered = [place for place in places if any(cover in Path(place).parents for cover in covers)]
    return [*_resolve(places), *covered]


def _bind(how: str, paths: Iterable[str]) -> list[str]:
    return [word for path in sorted(set(paths)) for word in (how, path, path)]


def _made(shown: Iterable[str], hidden: Iterable[str]) -> list[str]:
    """Give the folders that are made on the way to what is shown in spite of all, which the umask closes to others."""
    places, covers = [Path(path) for path in shown], [Path(path) for path in hidden]
    ways = {folder for place in places for folder in place.parents if any(cover in folder.parents for cover in covers)}
    return sorted(str(way) for way in ways if not any(way.is_relative_to(place) for place in places))


def _gpus() -> Iterator[str]:
    for pattern in _GPUS:
        yield from map(str, Path("/").glob(pattern.removeprefix("/")))
