"""`make bench-transfer`: upload and download beside a plain copy and a bare gRPC stream of the same bytes."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import grpc
from jobapi.v1 import artifact_service_pb2 as artifact_pb
from jobapi.v1 import job_service_pb2 as pb

from benchmarks.bare_stream import METHODS, serve
from benchmarks.bench import Bench
from benchmarks.daemon import BenchmarkError, Daemon
from benchmarks.row import Row, Series, row
from benchmarks.workload import copies, job

_PIECE = 256 << 10


def measure_transfer(bench: Bench) -> list[Row]:
    """Take turns between the daemon, a bare stream in another process, and a copy on the same disk."""
    size = bench.pick(1024, 128) << 20
    file = bench.folder / "transfer.bin"
    _write(file, size)
    daemon = bench.daemon()
    job_id, name = _publish(daemon, file)
    daemon.settle()
    ways: dict[str, Callable[[], Path | None]] = {}
    with _bare_server(bench.folder, file) as address, grpc.insecure_channel(address) as channel:
        ways["upload"] = lambda: _upload(daemon, file)
        ways["bare stream up"] = lambda: _bare_up(channel, file)
        ways["download"] = lambda: _download(daemon, job_id, name, bench.folder / "download.bin")
        ways["bare stream down"] = lambda: _bare_down(channel)
        ways["copy"] = lambda: _copy(file, bench.folder / "copy.bin")
        speeds = _take_turns(bench, ways, size)
    return _rows(speeds)


def _take_turns(bench: Bench, ways: dict[str, Callable[[], Path | None]], size: int) -> dict[str, list[float]]:
    """Give the speeds of all ways. What a way has left is removed off the clock.

    Without that each would write into memory that the kernel has not had before; on a virtual machine its host has to
    provide it then, which was seen to take ten times as long as the writing itself.
    """
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(bench.rounds):
        for name, go in ways.items():
            begun = time.perf_counter()
            left = go()
            speeds[name].append(size / 1e6 / (time.perf_counter() - begun))
            if left:
                left.unlink()
        bench.say(f"round {number + 1}: " + ", ".join(f"{name} {taken[-1]:.0f} MB/s" for name, taken in speeds.items()))
    return speeds


def _rows(speeds: dict[str, list[float]]) -> list[Row]:
    compared = [
        Row(
            key="transfer",
            what=what,
            unit="MB/s",
            ours=Series(tuple(speeds[what])),
            against="bare gRPC stream",
            baseline=Series(tuple(speeds[other])),
            note=note,
        )
        for what, other, note in (
            ("upload", "bare stream up", "with a digest, and on disk when it answers"),
            ("download", "bare stream down", "with a digest that the client checks, and written into a file"),
        )
    ]
    return [*compared, row("transfer", "plain copy, synced", "MB/s", speeds["copy"])]


def _write(file: Path, size: int) -> None:
    block = os.urandom(1 << 20)
    with file.open("wb") as out:
        for _ in range(size >> 20):
            out.write(block)


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as data:
        while piece := data.read(_PIECE):
            yield piece


def _upload(daemon: Daemon, file: Path) -> Path:
    requests = (artifact_pb.UploadRequest(data=piece) for piece in _pieces(file))
    answer = daemon.artifacts.Upload(requests)
    if answer.size_bytes != file.stat().st_size:
        raise BenchmarkError(f"{answer.size_bytes} bytes of {file} have arrived")
    return daemon.state / "uploads" / answer.upload_id / "data"


def _publish(daemon: Daemon, file: Path) -> tuple[str, str]:
    """Have a job make a public artifact of the file; give the job and the artifact's name."""
    inputs = [pb.JobInput(param_name="input", path=str(file))]
    run = daemon.run(job("transfer", copies(1, public=True), copies=True), inputs)
    return run.id, "copy-0.bin"


def _download(daemon: Daemon, job_id: str, name: str, to: Path) -> Path:
    digest, told = hashlib.sha256(), ""
    with to.open("wb") as out:
        for piece in daemon.artifacts.Download(artifact_pb.DownloadRequest(job_id=job_id, name=name)):
            digest.update(piece.data)
            out.write(piece.data)
            told = piece.trailer.sha256 or told
    if told != digest.hexdigest():
        raise BenchmarkError(f"{name} has arrived with the digest {digest.hexdigest()}, not {told}")
    return to


def _bare_up(channel: grpc.Channel, file: Path) -> None:
    up: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(METHODS["up"])
    up(_pieces(file))


def _bare_down(channel: grpc.Channel) -> None:
    down: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHODS["down"])
    for _ in down(b""):
        pass


def _copy(file: Path, to: Path) -> Path:
    shutil.copyfile(file, to)
    with to.open("rb") as copied:
        os.fsync(copied.fileno())
    return to


@contextmanager
def _bare_server(folder: Path, file: Path) -> Iterator[str]:
    """Have a server in another process that takes and gives bytes and does nothing else."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    address = f"unix:{folder}/bare"
    process = context.Process(target=serve, args=(address, file, _PIECE, theirs), daemon=True)
    process.start()
    try:
        ours.recv()
        yield address
    finally:
        process.terminate()
        process.join()
