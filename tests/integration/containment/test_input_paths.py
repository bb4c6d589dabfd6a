"""Files that callers name by path: which may be taken, and that nothing can be put in their place."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from jobd import input_copy
from jobd.errors import DiskFullError, InvalidInputError, JobdError, PathNotAllowedError
from jobd.input_copy import InputCopy
from jobd.roots import Caller, Roots

OWN, OTHER = Caller(same_user=True), Caller(same_user=False)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Give a folder with a file and a folder in it, beside a state directory."""
    (tmp_path / "state/jobs").mkdir(parents=True)
    (tmp_path / "state/token").write_text("token")
    (tmp_path / "media/clips").mkdir(parents=True)
    (tmp_path / "media/clip.mp4").write_text("clip")
    (tmp_path / "media/clips/one.mp4").write_text("one")
    (tmp_path / "private.txt").write_text("private")
    return tmp_path / "media"


def take(path: Path | str, caller: Caller, *allowed: Path, kept: Path | None = None) -> Path:
    """Copy an input as Submit does; give the copy."""
    target = Path(str(allowed[0] if allowed else path)).parent / f"copy-{os.urandom(4).hex()}"
    InputCopy(Roots(allowed, kept=() if kept is None else (kept,)), caller).copy(str(path), target)
    return target


def refuse(path: Path | str, caller: Caller, *allowed: Path, kept: Path | None = None) -> JobdError:
    """Give why an input is not taken."""
    with pytest.raises(JobdError) as caught:
        take(path, caller, *allowed, kept=kept)
    return caught.value


def test_without_roots_the_own_user_names_any_file(media: Path):
    """Whoever opened the unix socket is the daemon's user and could read the file anyway; links are followed."""
    (media / "link").symlink_to(media.parent / "private.txt")
    assert take(media / "link", OWN).read_text() == "private"


@pytest.mark.parametrize("path", ["clip.mp4", "missing"])
def test_without_roots_others_name_none(media: Path, path: str):
    """Over TCP nothing is taken by path, and the answer is the same whether the file exists."""
    error = refuse(media / path, OTHER)
    assert isinstance(error, PathNotAllowedError)
    assert "over TCP" in error.message
    assert "--allow-root" in error.hint


@pytest.mark.parametrize("caller", [OWN, OTHER])
def test_roots_hold_for_everybody(media: Path, caller: Caller):
    """What lies below a root is taken, files and folders; what does not is refused, be it there or not."""
    assert take(media / "clip.mp4", caller, media).read_text() == "clip"
    assert (take(media / "clips", caller, media) / "one.mp4").read_text() == "one"
    outside = {type(refuse(media.parent / name, caller, media)) for name in ("private.txt", "missing", "media2")}
    assert outside == {PathNotAllowedError}
    assert isinstance(refuse(media / "missing", caller, media), InvalidInputError)


@pytest.mark.parametrize("way", ["../private.txt", "clips/../../private.txt", "out", "out-folder/private.txt"])
def test_no_way_leads_out_of_a_root(media: Path, way: str):
    """Neither dots nor links, of a file or on the way to it, reach what does not lie below a root."""
    (media / "out").symlink_to("../private.txt")
    (media / "out-folder").symlink_to(media.parent)
    assert isinstance(refuse(media / way, OTHER, media), PathNotAllowedError)


def test_a_root_may_be_a_link_itself(media: Path):
    """A root is what it leads to when the path is checked."""
    (media.parent / "current").symlink_to(media)
    assert take(media.parent / "current/clip.mp4", OTHER, media.parent / "current").read_text() == "clip"


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/hostname"), lambda path: path.symlink_to("..")])
def test_a_link_in_a_folder_leads_no_further_than_a_path(media: Path, make: Callable[[Path], None]):
    """A folder is taken as if each link in it had been named by the caller."""
    make(media / "clips/link")
    assert isinstance(refuse(media / "clips", OTHER, media / "clips"), PathNotAllowedError)


def test_a_link_in_a_folder_is_copied_as_what_it_leads_to(media: Path):
    """Within the roots links are followed, so that the job has its input whole whatever becomes of the original."""
    (media / "clips/other.mp4").symlink_to("../clip.mp4")
    copy = take(media / "clips", OTHER, media)
    assert (copy / "other.mp4").read_text() == "clip"
    assert not (copy / "other.mp4").is_symlink()


def test_links_in_circles_end(media: Path):
    """A link to a folder around it is an error, not an endless copy."""
    (media / "clips/up").symlink_to("..")
    assert "is a link to a folder that holds it" in refuse(media, OWN).message


def test_links_that_meet_end(media: Path, monkeypatch: pytest.MonkeyPatch):
    """Folders whose links double at each level are cut off at a number of files."""
    monkeypatch.setattr(input_copy, "MOST_FILES", 50)
    for level in range(10):
        (media / f"level{level}").mkdir()
        for name in ("a", "b"):
            (media / f"level{level}" / name).symlink_to(f"../level{level + 1}")
    (media / "level10").mkdir()
    assert "is one file too many" in refuse(media / "level0", OWN).message


@pytest.mark.parametrize("path", ["state", "state/token", "state/jobs", ""])
@pytest.mark.parametrize("caller", [OWN, OTHER])
def test_what_the_daemon_keeps_is_no_input(media: Path, caller: Caller, path: str):
    """Its state directory, a file in it, and a folder around it are refused to everybody, whatever the roots."""
    error = refuse(media.parent / path, caller, media.parent, kept=media.parent / "state")
    assert isinstance(error, InvalidInputError)
    assert "leads into what the daemon keeps itself" in error.message


def test_a_link_in_a_folder_does_not_lead_into_what_the_daemon_keeps(media: Path):
    """Another name for the state directory is found out by what it is, not by how it is written."""
    (media / "clips/sneaky").symlink_to(media.parent / "state/token")
    assert "daemon keeps itself" in refuse(media / "clips", OWN, kept=media.parent / "state").message


def special(folder: Path) -> None:
    """Fill a folder with things that are neither files nor folders."""
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket"))


@pytest.mark.parametrize("name", ["pipe", "device", "socket"])
@pytest.mark.parametrize("within", [False, True])
def test_special_files_are_refused_unopened(tmp_path: Path, name: str, within: bool):
    """A pipe that nobody writes to does not block, and no device is opened, named by itself or in a folder."""
    folder = tmp_path / "f"
    folder.mkdir()
    special(folder)
    for other in {"pipe", "device", "socket"} - {name}:
        (folder / other).unlink()
    assert f"is a {name}" in refuse(folder if within else folder / name, OWN).message


def test_a_file_that_becomes_a_link_after_its_check_is_not_followed(media: Path, monkeypatch: pytest.MonkeyPatch):
    """Between the check of a path and its copy nobody can lead it elsewhere, by a link in its place or on the way."""
    resolve = Roots.resolve
    for swapped, path in ((media / "clip.mp4", media / "clip.mp4"), (media / "clips", media / "clips/one.mp4")):

        def swap(roots: Roots, named: str, caller: Caller, swapped: Path = swapped) -> Path:
            resolved = resolve(roots, named, caller)
            swapped.rename(swapped.with_name("away"))
            swapped.symlink_to(media.parent / "private.txt")
            return resolved

        monkeypatch.setattr(Roots, "resolve", swap)
        assert "changed while it was opened" in refuse(path, OTHER, media).message
        swapped.unlink()
        (media / "away").rename(swapped)


def test_a_file_that_is_replaced_after_it_was_opened_is_copied_as_it_was(media: Path, monkeypatch: pytest.MonkeyPatch):
    """What is copied is the very file that was checked, even when its name means another one by then."""
    copy_bytes = input_copy.copy_bytes

    def replace_first(fd: int, target: Path) -> None:
        (media / "clip.mp4").unlink()
        (media / "clip.mp4").symlink_to(media.parent / "private.txt")
        copy_bytes(fd, target)

    monkeypatch.setattr(input_copy, "copy_bytes", replace_first)
    assert take(media / "clip.mp4", OTHER, media).read_text() == "clip"


@pytest.mark.parametrize("path", ["relative", "", "/with\0zero", "/etc/hostname/below", "/" + "x" * 300])
def test_paths_that_are_none(path: str):
    """They are the caller's error, told in one line."""
    error = refuse(path, OWN)
    assert isinstance(error, InvalidInputError)
    assert "\n" not in error.message
    assert "\0" not in error.message


def test_a_full_disk_is_told_before_the_copy(media: Path):
    """The room on the disk is asked for before each file."""

    def full(_size: int) -> None:
        raise DiskFullError("full")

    with pytest.raises(DiskFullError):
        InputCopy(Roots(), OWN, check_room=full).copy(str(media), media.parent / "copy")
