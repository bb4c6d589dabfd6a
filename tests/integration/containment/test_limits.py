"""What a module may use of the machine, and that one which wants more fails with that as the reason."""

import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd import limits
from jobd.attempt import Succeeded
from jobd.events import FailureKind
from jobd.limits import Limits

pytestmark = pytest.mark.timeout(60)

MIB = 1 << 20

LOOK = """
import json, os, resource
names = ["RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_DATA"]
oom = int(open("/proc/self/oom_score_adj").read())
# They are set from outside, at once, but not before the interpreter begins to start.
while oom != 500:
    oom = int(open("/proc/self/oom_score_adj").read())
mask = os.umask(0)
print(json.dumps([[resource.getrlimit(getattr(resource, name)) for name in names], mask, oom]))
"""


def test_a_module_is_limited(awkward):
    """No core, a bounded number of open files, new files closed to others, and first to go when memory runs out."""
    assert isinstance(awkward.run(LOOK), Succeeded)
    (core, files, _size, data), mask, oom = json.loads(awkward.log.read_text())
    most = min(limits.OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    assert (core, files, data, mask, oom) == ([0, 0], [most, most], [-1, -1], 0o077, 500)


def test_the_size_of_files_is_limited_if_it_says_so(awkward):
    """Without output_limit a file may grow; with it, to as much as outputs or the log may have."""
    assert isinstance(awkward.run(LOOK, output_limit=100 * MIB, log_limit=MIB), Succeeded)
    assert json.loads(awkward.log.read_text())[0][2] == [100 * MIB, 100 * MIB]


def test_memory_that_is_more_than_stated_is_refused(fail):
    """A module that wants more memory than its resources state fails for that, not just with an exit code."""
    failure = fail("takes_memory.py", resources={"memory": 200 * MIB})
    assert failure.kind is FailureKind.OUT_OF_MEMORY, failure
    assert "memory" in failure.message


def test_memory_that_is_not_stated_is_not_limited(awkward):
    """Without a word on memory, a module may have what there is."""
    assert isinstance(awkward.run("held = bytearray(1 << 28)"), Succeeded)


def test_a_memory_error_without_a_limit_is_an_exit_code(fail):
    """Only where memory is limited does the last line of a program tell that it ran into the limit."""
    failure = fail("raise MemoryError")
    assert failure.kind is FailureKind.EXIT_CODE


@pytest.fixture
def tight() -> Iterator[Path]:
    """Give a cgroup with little memory that is not jobd's, as a container or a login session has it."""
    mounts = {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup " in line}
    places = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    path = next((Path("/sys/fs/cgroup/memory" + place) for _id, kind, place in places if kind == "memory"), None)
    if path is None or "/sys/fs/cgroup/memory" not in mounts or not os.access(path / "cgroup.procs", os.W_OK):
        pytest.skip("no cgroup v1 with a memory controller can be made here")
    folder = path / f"tight-{os.getpid()}"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(str(100 * MIB))
    yield folder
    folder.rmdir()


def test_one_that_the_kernel_kills_for_memory_says_so(fail, tight: Path):
    """A SIGKILL of the kernel's is told apart from one of anybody else."""
    failure = fail(f"import os\nopen('{tight}/cgroup.procs', 'w').write(str(os.getpid()))\nheld = bytearray(1 << 30)")
    assert (failure.kind, failure.signal) == (FailureKind.OUT_OF_MEMORY, signal.SIGKILL)
    assert "the machine ran out of memory" in failure.message


def test_a_file_beyond_the_limit_is_refused(fail):
    """The module is told by the system that its file is too large, and fails with that in its last words."""
    failure = fail("writes_much.py", output_limit=MIB, log_limit=MIB)
    assert failure.kind is FailureKind.EXIT_CODE
    assert "File too large" in failure.log_tail[-1]


def test_a_program_that_the_limit_kills_is_told_apart(fail):
    """One that does not ignore SIGXFSZ dies by it, and the reason names the limit."""
    script = "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nopen('much', 'wb').write(bytes(4 << 20))"
    failure = fail(script, output_limit=MIB, log_limit=MIB)
    assert failure.kind is FailureKind.INVALID_OUTPUT
    assert "output_limit" in failure.message


def test_outputs_that_are_too_large_together_are_refused(fail, awkward):
    """Many small files of a folder count as one output, and none of it becomes visible."""
    script = """
import pathlib, sys
folder = pathlib.Path(sys.argv[2])
folder.mkdir()
for number in range(8):
    (folder / str(number)).write_bytes(bytes(1 << 18))
"""
    failure = fail(script, outputs=["many"], output_limit=MIB)
    assert failure.kind is FailureKind.INVALID_OUTPUT
    assert str(2 * MIB) in failure.message
    assert list(awkward.directory.artifacts.iterdir()) == []


def test_open_files_are_limited(fail):
    """A module that opens file after file fails by itself before it can harm others."""
    assert "Too many open files" in fail("opens_files.py").log_tail[-1]


def test_a_process_that_has_ended_is_no_error():
    """Limits that come too late are not needed."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    Limits(memory=MIB, file_size=MIB).apply(pid, data=True)
