"""The removal of folders that their makers have closed, as whoever owns them."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd import trees
from jobd.artifacts import ArtifactStore, OutputError, check_output, copy_in
from jobd.errors import InvalidInputError
from jobd.input_copy import InputCopy
from jobd.roots import Caller, Roots
from jobd.trees import MOST_DEPTH, discard, remove_folder, remove_tree, tree_size

NOBODY = 65534


@contextlib.contextmanager
def no_rights_but_the_owners() -> Iterator[None]:
    """Do without the right of root to enter and change every folder."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that such an owner can reach."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def make_closed(place: Path, *modes: int) -> Path:
    """Make a folder in a folder, and so on, each with a file, and close each with its mode."""
    inner = place / "out"
    folders = []
    for _ in modes:
        inner.mkdir()
        (inner / "file").write_text("made")
        folders.append(inner)
        inner /= "inner"
    for folder, mode in reversed(list(zip(folders, modes, strict=True))):
        folder.chmod(mode)
    return folders[0]


@pytest.mark.parametrize("modes", [(0o555,), (0o500, 0o500), (0o000,), (0o755, 0o000, 0o755), (0o600, 0o300)])
def test_folders_closed_to_their_owner_are_removed(place, modes):
    """A copy of a read-only tree, and worse, goes like any other folder."""
    with no_rights_but_the_owners():
        folder = make_closed(place, *modes)
        with pytest.raises(PermissionError):
            shutil.rmtree(folder)
        remove_folder(folder)
        assert list(place.iterdir()) == []


def test_an_artifact_that_is_closed_is_removed(place):
    """An artifact is removed after its last use, however its module has left it."""
    with no_rights_but_the_owners():
        make_closed(place, 0o555, 0o555)
        ArtifactStore(place).remove("out")
        assert list(place.iterdir()) == []


def test_what_a_link_leads_to_stays_as_it_is(place):
    """Neither removed nor opened up."""
    with no_rights_but_the_owners():
        elsewhere = place / "elsewhere"
        elsewhere.mkdir()
        elsewhere.chmod(0o500)
        folder = place / "out"
        folder.mkdir()
        (folder / "link").symlink_to(elsewhere)
        folder.chmod(0o555)
        remove_folder(folder)
        assert list(place.iterdir()) == [elsewhere]
        assert elsewhere.stat().st_mode & 0o777 == 0o500


def test_what_cannot_be_removed_is_an_error(place):
    """What is somebody else's stays, and that is told; everything else goes."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder that is somebody else's")
    folder = place / "out"
    for name in "abc":
        (folder / name / "theirs").mkdir(parents=True)
        (folder / name / "theirs" / "file").write_text("")
        (folder / name / "file").write_text("")
    for path in (folder, folder / "a", folder / "b", folder / "c"):
        os.chown(path, NOBODY, NOBODY)
    with no_rights_but_the_owners(), pytest.raises(PermissionError):
        remove_folder(folder)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == ["a/theirs/file", "b/theirs/file", "c/theirs/file"]


def make_deep(place: Path, depth: int, *, mode: int = 0o755) -> Path:
    """Make folders in folders, with a file in each, as no path can name them."""
    place.mkdir()
    here = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("deeper", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.fchmod(here, mode)
        os.close(here)
        here = below
    os.close(here)
    return place


@pytest.mark.parametrize("depth", [300, 1500, 5000])
def test_folders_are_removed_however_deep(place, depth: int):
    """A module may make more of them in one another than Python can enter, or a path can name."""
    with no_rights_but_the_owners():
        folder = make_deep(place / "deep", depth)
        tree_size(folder)
        remove_folder(folder)
        assert list(place.iterdir()) == []


def test_nothing_is_moved_out_of_what_has_become_a_link(place, monkeypatch: pytest.MonkeyPatch):
    """Somebody who puts a link in the place of a folder, while that waits for its turn, loses no folder elsewhere."""
    elsewhere = place / "elsewhere"
    (elsewhere / "precious").mkdir(parents=True)
    folder = make_deep(place / "out", 1500)
    (folder / "swapped").mkdir()
    look, looked = trees._folders_in, []

    def swap(fd: int | None) -> list[str]:
        names = look(fd)
        if not looked:
            (folder / "swapped").rmdir()
            (folder / "swapped").symlink_to(elsewhere)
        looked.append(fd)
        return names

    monkeypatch.setattr(trees, "_folders_in", swap)
    assert trees._loosen(folder)
    assert (elsewhere / "precious").is_dir()
    remove_folder(folder)
    assert (list(place.iterdir()), len(looked) > 1500) == ([elsewhere], True)


def test_deep_folders_that_are_closed_are_removed(place):
    """Both hindrances at once."""
    with no_rights_but_the_owners():
        discard(make_deep(place / "deep", 1500, mode=0o500))
        assert list(place.iterdir()) == []


def test_an_artifact_has_a_bound_to_its_depth(tmp_path):
    """Whoever copies, sends or unpacks one has to get through: what is deeper is no output, and no input."""
    make_deep(tmp_path / "good", MOST_DEPTH - 1)
    assert check_output(tmp_path / "good", "good").folder
    for depth in (MOST_DEPTH + 1, 1500):
        deep = make_deep(tmp_path / f"deep{depth}", depth)
        with pytest.raises(OutputError, match=f"more than {MOST_DEPTH} deep"):
            check_output(deep, "deep")
        with pytest.raises(InvalidInputError, match=f"more than {MOST_DEPTH} deep"):
            copy_in(deep, tmp_path / "copy")
        with pytest.raises(InvalidInputError, match=f"more than {MOST_DEPTH} deep"):
            InputCopy(Roots(()), Caller(same_user=True)).copy(str(deep), tmp_path / "input")
        for path in (deep, tmp_path / "copy", tmp_path / "input"):
            discard(path)


def test_a_removal_tells_what_it_frees(tmp_path):
    """Bytes of all files; nothing where there is nothing."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(bytes(10))
    (tmp_path / "a" / "b" / "two").write_bytes(bytes(5))
    assert tree_size(tmp_path / "a") == 15
    assert remove_tree(tmp_path / "a") == 15
    assert remove_tree(tmp_path / "a") == 0
