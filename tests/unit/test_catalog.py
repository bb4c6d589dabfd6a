"""What the catalog promises: every module found, none stopped by another, and no look repeated in vain."""

import os
import sys
from pathlib import Path

import pytest

from jobd.catalog import Catalog

TEXT = "name: {name}\ndescription: d\nentrypoint: main.py\n"
LONG_AGO = 1_000_000_000


def settle(path: Path) -> None:
    os.utime(path, (LONG_AGO, LONG_AGO))


def write_module(folder: Path, name: str, text: str = TEXT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.yaml").write_text(text.format(name=name))
    settle(folder / "manifest.yaml")
    (folder / "main.py").write_text("")
    return folder


def test_modules_are_found_at_any_depth(tmp_path):
    """Every folder with a manifest below any of the roots is a module, a root itself too."""
    write_module(tmp_path / "a/one", "one")
    write_module(tmp_path / "a/x/y/z/two", "two")
    write_module(tmp_path / "b", "three")

    snapshot = Catalog((tmp_path / "a", tmp_path / "b")).scan()

    assert list(snapshot.modules) == ["one", "three", "two"]
    assert snapshot.broken == ()
    module = snapshot.modules["two"]
    assert (module.folder, module.entrypoint, module.description) == (tmp_path / "a/x/y/z/two", "main.py", "d")
    assert module.folder.is_absolute()


@pytest.mark.parametrize("folder", [".git/m", "__pycache__/m", "m/inner"])
def test_some_folders_are_not_looked_into(tmp_path, folder):
    """Hidden folders, bytecode folders and the folders of a module hold no modules."""
    write_module(tmp_path / "m", "m")
    write_module(tmp_path / folder, "hidden")

    snapshot = Catalog((tmp_path,)).scan()

    assert list(snapshot.modules) == ["m"]
    assert snapshot.broken == ()


def test_a_broken_module_is_listed_and_stops_nobody(tmp_path):
    """All the reasons are told, with lines, and the other modules are there."""
    write_module(tmp_path / "good", "good")
    write_module(tmp_path / "bad", "bad", "name: {name}\ndescriptio: d\nentrypoint: main.sh\n")

    snapshot = Catalog((tmp_path,)).scan()

    assert list(snapshot.modules) == ["good"]
    (broken,) = snapshot.broken
    assert (broken.name, broken.folder) == ("bad", tmp_path / "bad")
    assert broken.reasons == (
        "line 1, description: `description` is missing (add `description:` here)",
        "line 2, descriptio: unknown key `descriptio` (did you mean `description`?)",
        "line 3, entrypoint: 'main.sh' is not a Python script (name a file of this folder that ends in .py)",
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: the document is empty"),
        (b"\x00\xff", "line 1: the document is binary, not text (give a YAML file in UTF-8)"),
        (b"a" * (3 * 1024 * 1024), "the document has"),
        (b"a: &x [*x]", "line 1, a: anchors and aliases"),
    ],
    ids=["empty", "binary", "large", "alias"],
)
def test_a_manifest_of_rubbish_is_listed(tmp_path, content, reason):
    """No content of a manifest stops the scan."""
    (write_module(tmp_path / "bad", "bad") / "manifest.yaml").write_bytes(content)

    (broken,) = Catalog((tmp_path,)).scan().broken

    assert any(reason in told for told in broken.reasons)


def test_an_entrypoint_must_exist_in_the_folder(tmp_path):
    """A missing script, a folder, and a link that leads out of the module are all refused."""
    (write_module(tmp_path / "a", "a") / "main.py").unlink()
    outside = tmp_path / "outside.py"
    outside.write_text("")
    (write_module(tmp_path / "b", "b") / "main.py").unlink()
    (tmp_path / "b/main.py").symlink_to(outside)
    (write_module(tmp_path / "c", "c") / "main.py").unlink()
    (tmp_path / "c/main.py").mkdir()

    snapshot = Catalog((tmp_path,)).scan()

    assert snapshot.modules == {}
    assert [(broken.name, *broken.reasons) for broken in snapshot.broken] == [
        ("a", "entrypoint: there is no file 'main.py' in the folder"),
        ("b", "entrypoint: 'main.py' is a link out of the folder"),
        ("c", "entrypoint: there is no file 'main.py' in the folder"),
    ]


def test_the_first_of_two_modules_with_one_name_counts(tmp_path):
    """The order is that of the roots, then that of the paths; the loser is told of the winner."""
    write_module(tmp_path / "r1/z", "same")
    write_module(tmp_path / "r2/a", "same")
    write_module(tmp_path / "r2/b", "other")
    write_module(tmp_path / "r2/c", "other")

    snapshot = Catalog((tmp_path / "r1", tmp_path / "r2")).scan()

    assert {name: module.folder for name, module in snapshot.modules.items()} == {
        "same": tmp_path / "r1/z",
        "other": tmp_path / "r2/b",
    }
    assert [(broken.folder, broken.reasons) for broken in snapshot.broken] == [
        (tmp_path / "r2/a", (f"another module is called 'same', and it comes first: {tmp_path / 'r1/z'}",)),
        (tmp_path / "r2/c", (f"another module is called 'other', and it comes first: {tmp_path / 'r2/b'}",)),
    ]


def test_loops_and_overlapping_roots_are_walked_once(tmp_path):
    """A link to a folder above, or a root below another, makes no module twice."""
    write_module(tmp_path / "a/m", "m")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")

    snapshot = Catalog((tmp_path, tmp_path / "a", tmp_path / "a/m")).scan()

    assert list(snapshot.modules) == ["m"]
    assert snapshot.broken == ()


def test_a_linked_module_is_found(tmp_path):
    """A folder of modules may be a link to where they are kept."""
    write_module(tmp_path / "kept/m", "m")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "kept")

    assert Catalog((tmp_path / "root",)).scan().modules["m"].folder == tmp_path / "root/link/m"


def test_what_cannot_be_read_is_listed(tmp_path):
    """A root that is not there, a manifest that is no file, and a dangling link are broken with their reasons."""
    (tmp_path / "r/folder/manifest.yaml").mkdir(parents=True)
    (tmp_path / "r/link").mkdir()
    (tmp_path / "r/link/manifest.yaml").symlink_to(tmp_path / "nothing")
    (tmp_path / "r/pipe").mkdir()
    os.mkfifo(tmp_path / "r/pipe/manifest.yaml")

    snapshot = Catalog((tmp_path / "absent", tmp_path / "r")).scan()

    assert [(broken.name, *broken.reasons) for broken in snapshot.broken] == [
        ("absent", "the folder cannot be read: No such file or directory"),
        ("folder", "manifest.yaml is not a regular file"),
        ("link", "manifest.yaml cannot be read: No such file or directory"),
        ("pipe", "manifest.yaml is not a regular file"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_folder_that_is_not_utf_8_is_listed(tmp_path):
    """A path that could not be written into a plan makes its module broken."""
    write_module(tmp_path / os.fsdecode(b"\xff"), "m")

    (broken,) = Catalog((tmp_path,)).scan().broken

    assert broken.reasons == ("the path of the folder is not valid UTF-8",)


def test_changes_are_seen_by_the_next_scan(tmp_path):
    """New, changed, mended and removed modules are seen without a restart, a new script too."""
    catalog = Catalog((tmp_path,))
    assert catalog.scan().modules == {}

    folder = write_module(tmp_path / "m", "m")
    assert list(catalog.scan().modules) == ["m"]

    (folder / "manifest.yaml").write_text(TEXT.format(name="renamed"))
    assert list(catalog.scan().modules) == ["renamed"]

    (folder / "main.py").unlink()
    assert [broken.name for broken in catalog.scan().broken] == ["renamed"]

    (folder / "main.py").write_text("")
    assert list(catalog.scan().modules) == ["renamed"]

    (folder / "manifest.yaml").unlink()
    assert catalog.scan().modules == {}


def test_a_quick_second_write_of_the_same_size_is_seen(tmp_path, monkeypatch):
    """A manifest that was just written is not trusted to be unchanged, even with equal time and size."""
    monkeypatch.setattr("jobd.catalog.SETTLED_NS", 3600 * 10**9)
    folder = write_module(tmp_path / "m", "one")
    os.utime(folder / "manifest.yaml")
    status = (folder / "manifest.yaml").stat()
    catalog = Catalog((tmp_path,))
    assert list(catalog.scan().modules) == ["one"]

    (folder / "manifest.yaml").write_text(TEXT.format(name="two"))
    os.utime(folder / "manifest.yaml", ns=(status.st_atime_ns, status.st_mtime_ns))

    assert list(catalog.scan().modules) == ["two"]


def test_a_snapshot_does_not_change(tmp_path):
    """What one request looks at stays the same, whatever the next scan finds."""
    folder = write_module(tmp_path / "m", "m")
    catalog = Catalog((tmp_path,))
    snapshot = catalog.scan()

    (folder / "manifest.yaml").unlink()
    catalog.scan()

    assert list(snapshot.modules) == ["m"]


@pytest.mark.size
def test_unchanged_manifests_are_not_parsed_again(tmp_path):
    """A thousand modules are parsed once; then only the one that changed, and broken ones are remembered as well."""
    for number in range(999):
        write_module(tmp_path / f"m{number:03}", f"m{number:03}")
    write_module(tmp_path / "bad", "bad", "x: {name}")
    catalog = Catalog((tmp_path,))

    first = catalog.scan()
    assert (len(first.modules), len(first.broken), catalog.parsed) == (999, 1, 1000)

    assert catalog.scan() == first
    assert catalog.parsed == 1000

    write_module(tmp_path / "m500", "changed")
    assert "changed" in catalog.scan().modules
    assert catalog.parsed == 1001
