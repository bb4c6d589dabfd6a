"""Finding the cgroup2 mount and one's own place on it, on the kinds of machine there are."""

from pathlib import Path

import pytest

from jobd import cgroup

HYBRID = """\
proc /proc proc rw,relatime 0 0
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""


@pytest.mark.parametrize(
    ("mounts", "place"),
    [
        (HYBRID, Path("/sys/fs/cgroup/unified")),
        ("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n", Path("/sys/fs/cgroup")),
        ("none /mnt/my\\040groups cgroup2 rw 0 0\n", Path("/mnt/my groups")),
        ("cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n", None),
        ("", None),
    ],
    ids=["hybrid", "unified", "blank", "v1", "nothing"],
)
def test_the_mount_is_found(mounts: str, place: Path | None):
    """Wherever it is mounted, it is known by its type; version 1 is not taken for it."""
    assert place == cgroup.mount_point(mounts)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/\n", ""),
        ("9:name=systemd:/\n4:memory:/elsewhere\n0::/system.slice/jobd.service\n", "system.slice/jobd.service"),
        ("0::/../other\n", None),
        ("4:memory:/elsewhere\n", None),
        ("", None),
    ],
    ids=["root", "service", "outside of the namespace", "v1 only", "nothing"],
)
def test_the_own_place_is_found(text: str, path: str | None):
    """The line of version 2 counts; a place that cannot be seen from here is none."""
    assert path == cgroup.own_path(text)


@pytest.mark.parametrize(
    ("name", "aside", "handed"),
    [
        ("jobd.service", "daemon", {"pids"}),
        ("jobd.service", "main", {"memory", "pids"}),
        ("run-1.scope", "daemon", {"memory", "pids"}),
    ],
    ids=["stepped-aside", "put-aside-by-systemd", "scope"],
)
def test_a_service_can_be_started_again_beside_its_jobs(tmp_path: Path, name: str, aside: str, handed: set[str]):
    """Where systemd puts the next daemon into the service's own cgroup, that keeps the memory controller to itself."""
    folder = tmp_path / name
    (folder / aside).mkdir(parents=True)
    (folder / "cgroup.controllers").write_text("cpu memory pids\n")
    assert cgroup.Cgroup(folder).available() == handed
