"""Running modules as another user than the daemon, which is root then.

What the daemon keeps stays closed to that user but for the way to the folders of the attempt and to its inputs: on it,
folders may be passed by the user's group, not listed. An output becomes the daemon's again before it is looked at.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from jobd.artifacts import OutputError, make_sole_owner
from jobd.containment import User
from jobd.errors import ConfigError
from jobd.events import FailureKind
from jobd.names import ascii_controls
from jobd.trees import DepthError, walk

_PROGRAMS = ("prlimit", "setpriv")
_PASS, _READ, _LIST = 0o710, 0o640, 0o750


def find_user(name: str) -> User:
    """Look a user up as whom modules can run; ConfigError says why that cannot be."""
    if os.geteuid() != 0:
        raise ConfigError("--run-as needs a daemon that is started as root", hint="start it as that user instead")
    if absent := [program for program in _PROGRAMS if shutil.which(program) is None]:
        raise ConfigError(f"--run-as needs `{absent[0]}`, which is not on the PATH", hint="it belongs to util-linux")
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"--run-as: there is no user {name!r} on this machine") from None
    if found.pw_uid == 0 or found.pw_gid == 0:
        raise ConfigError(f"--run-as {name}: that is root, or of root's group", hint="name another user")
    return User(name=name, uid=found.pw_uid, gid=found.pw_gid, home=found.pw_dir)


def check_reach(user: User, places: Iterable[Path]) -> None:
    """Raise ConfigError unless the user can pass every folder above these places."""
    for place in places:
        for folder in sorted({*place.parents, *place.resolve().parents}):
            if not _may_pass(user, folder.stat()):
                message = f"--run-as {user.name}: that user cannot reach {place}, because {folder} is closed to it"
                raise ConfigError(message, hint=f"chmod o+x {folder}, or choose another place")


def prefix(user: User) -> list[str]:
    """Give the words that, put before the words of a command, have it run as the user, with no other group."""
    program = shutil.which("setpriv") or "setpriv"
    ids = [f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--inh-caps=-all", "--no-new-privs"]
    return [program, *ids, "--"]


def environment(user: User) -> dict[str, str]:
    """Give the variables that say who one is."""
    return {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}


def let_in(user: User, state: Path, scratch: Path, inputs: Iterable[Path]) -> None:
    """Let the user reach and own the folders of its attempt, and read its inputs."""
    ways = {folder for place in (scratch, *inputs) for folder in place.parents if folder.is_relative_to(state)}
    for folder in sorted(ways):
        os.chown(folder, -1, user.gid)
        folder.chmod(_PASS)
    for path in inputs:
        for inner in _all(path):
            _let_read(inner, user)
    # The scratch folder itself stays the daemon's: nobody is to put another folder in the place of one in it.
    os.chown(scratch, -1, user.gid)
    scratch.chmod(_PASS)
    for folder in scratch.iterdir():
        os.chown(folder, user.uid, user.gid)


def give_log(fd: int, user: User) -> None:
    """Let a module open its own output again, as /dev/stderr."""
    os.fchown(fd, user.uid, user.gid)


def take_back(user: User, folder: Path) -> None:
    """Make a folder, with all that a module has put in it, the daemon's own again; none of it lives any more.

    OutputError when it holds a file of somebody else: a further name of one that the user must not have.
    """
    # Closed first: what else runs as this user must not change it from here on.
    os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
    try:
        _take_back_all(user, folder)
    except DepthError as error:
        raise OutputError(FailureKind.INVALID_OUTPUT, f"it cannot be taken: {error.strerror}") from error


def _take_back_all(user: User, folder: Path) -> None:
    for path in _all(folder):
        status = path.lstat()
        if path != folder and status.st_uid != user.uid:
            message = f"it holds a file of another user: {ascii_controls(str(path.relative_to(folder)))}"
            raise OutputError(FailureKind.INVALID_OUTPUT, message)
        if stat.S_ISREG(status.st_mode):
            make_sole_owner(path, status)
        os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            path.chmod(stat.S_IMODE(status.st_mode) & 0o700 | (0o700 if stat.S_ISDIR(status.st_mode) else 0o600))


def _all(root: Path) -> Iterator[Path]:
    yield root
    if stat.S_ISDIR(root.lstat().st_mode):
        yield from walk(root)


def _let_read(path: Path, user: User) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return
    os.chown(path, -1, user.gid)
    path.chmod(_LIST if stat.S_ISDIR(mode) else _READ)


def _may_pass(user: User, status: os.stat_result) -> bool:
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
