"""What the distribution brings when it is installed without extras."""

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

REPOSITORY = Path(__file__).parents[3]
DAEMONS = {"prefect", "sqlalchemy", "alembic", "pydantic", "fastapi", "httpx", "structlog", "pyyaml"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the tree without any network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def place(wheel, tmp_path_factory):
    """An environment of its own with the wheel and, taken from this one, what the wheel's metadata asks for."""
    folder = tmp_path_factory.mktemp("place")
    venv.create(folder, with_pip=False, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    for name in close_over(requirements_of(site)):
        copy_distribution(name, site)
    return folder


def requirements_of(site):
    """Give the names that the wheel asks for without extras."""
    [information] = site.glob("media_jobd-*.dist-info")
    return read_names(metadata.PathDistribution(information).requires)


def read_names(requirements):
    """Give the names of requirements that hold without any extra on this machine."""
    kept = [text for text in requirements or () if "extra ==" not in text and "sys_platform" not in text]
    names = {re.match(r"[A-Za-z0-9._-]+", text).group() for text in kept}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names if is_installed(name)}


def is_installed(name):
    """Tell whether this environment has it; one that is for another version of Python it has not."""
    return any(True for _ in metadata.Distribution.discover(name=name))


def close_over(names):
    """Give these distributions and all that they need in turn."""
    known, left = set(), set(names)
    while left:
        name = left.pop()
        known.add(name)
        left |= read_names(metadata.distribution(name).requires) - known
    return known


def copy_distribution(name, site):
    """Link the files of an installed distribution into another environment."""
    purelib = Path(sysconfig.get_path("purelib"))
    for file in metadata.distribution(name).files or ():
        source, target = purelib / file, site / file
        if ".." not in file.parts and source.is_file() and "__pycache__" not in file.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def run(place, *words, **options):
    """Run a program of the environment, which sees nothing of this one."""
    command = [place / "bin" / "python", "-I", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_the_client_alone_needs_nothing_of_the_daemon(place):
    """Neither Prefect nor SQLAlchemy nor pydantic is among what the wheel asks for, however far one follows."""
    [site] = place.glob("lib/python*/site-packages")
    needed = close_over(requirements_of(site))

    assert {"grpcio", "protobuf", "rich"} <= needed
    assert needed & DAEMONS == set()
    assert run(place, "-c", "import prefect").returncode != 0


def test_the_client_alone_works(daemon, place):
    """Every module of jobctl is imported, and both clients and the command line speak to a daemon."""
    script = """
import asyncio, importlib, pkgutil, jobctl
for item in pkgutil.iter_modules(jobctl.__path__):
    item.name == "__main__" or importlib.import_module("jobctl." + item.name)
from jobctl.aio import AsyncClient
async def ask(address):
    async with AsyncClient.connect(address) as client:
        return (await client.get("@latest")).id
import sys
print(asyncio.run(ask(sys.argv[1])))
"""
    done = run(place, "-c", script, daemon.address)
    assert (done.stdout, done.stderr) == ("job7f3a\n", "")
    done = run(place, "-m", "jobctl", "--address", daemon.address, "watch", "@latest")
    assert done.returncode == 0
    assert "SUCCEEDED" in done.stderr


def test_the_daemon_says_which_extra_it_misses(place):
    """`jobd serve` without its extra ends with what to install, and with no traceback."""
    done = run(place, "-m", "jobd", "serve")

    assert done.returncode == 1
    assert "[daemon]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_wheel_carries_the_protocol(wheel):
    """The .proto files, and a descriptor set that is complete in itself and has the comments."""
    content = zipfile.ZipFile(wheel)
    protos = {name for name in content.namelist() if name.endswith(".proto")}
    assert protos == {f"jobapi/v1/{path.name}" for path in (REPOSITORY / "protos/jobapi/v1").glob("*.proto")}
    described = FileDescriptorSet.FromString(content.read("jobapi/descriptors.binpb"))
    files = {file.name: file for file in described.file}
    assert protos <= files.keys()
    assert {name for file in described.file for name in file.dependency} <= files.keys()
    services = {service.name for file in described.file for service in file.service}
    assert {"JobService", "ArtifactService", "ModuleService", "ServerService"} <= services
    assert any("Follows a job" in item.leading_comments
               for item in files["jobapi/v1/job_service.proto"].source_code_info.location)  # fmt: skip
