"""The removal of folders that their makers have closed, as whoever owns them."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd.artifacts import ArtifactStore
from jobd.trees import remove_folder, remove_tree, tree_size

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


def test_a_removal_tells_what_it_frees(tmp_path):
    """Bytes of all files; nothing where there is nothing."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(bytes(10))
    (tmp_path / "a" / "b" / "two").write_bytes(bytes(5))
    assert tree_size(tmp_path / "a") == 15
    assert remove_tree(tmp_path / "a") == 15
    assert remove_tree(tmp_path / "a") == 0
