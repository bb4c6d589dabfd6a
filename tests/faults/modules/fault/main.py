"""A module that lives and ends as it is told, and bears witness in a ledger that jobd never touches."""

import argparse
import hashlib
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    """Bear witness, check the inputs, live, and end."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--input", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--fate", default="well")
    parser.add_argument("--failures", type=int, default=0)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--offspring", action="store_true")
    options = parser.parse_args()
    begin(options)
    live(options)
    end(options)


def begin(options: argparse.Namespace) -> None:
    """Write down that it starts, and complain when another attempt of the entry still lives or an input is torn."""
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    witness(options.ledger, "start")
    if "SUITE_SECRET" in os.environ:
        witness(options.ledger, "secret")
    for pid, ticks in others(options.ledger):
        if ticks == start_ticks(pid):
            witness(options.ledger, "overlap", f"with-{pid}")
    for path in options.input:
        data = path.read_bytes()
        if hashlib.sha256(data[64:]).hexdigest().encode() != data[:64]:
            witness(options.ledger, "torn", path.name)


def live(options: argparse.Namespace) -> None:
    """Write the first half of the output, and pass the time."""
    if options.offspring and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    options.output.write_bytes(content(options.input)[:100])
    print("openjd_status: half of it is written", flush=True)
    time.sleep(3600 if options.fate == "hang" else options.seconds)


def end(options: argparse.Namespace) -> None:
    """End as the options say; a line is written before, so a killed attempt has none."""
    if options.fate == "exit" or int(os.environ["JOBD_ATTEMPT"]) <= options.failures:
        witness(options.ledger, "end", "failed")
        sys.exit(9)
    if options.fate == "crash":
        witness(options.ledger, "end", "crashed")
        os.kill(os.getpid(), signal.SIGSEGV)
    options.output.write_bytes(content(options.input))
    witness(options.ledger, "end", "well")


def content(inputs: list[Path]) -> bytes:
    """Make what can be made again by whoever knows the entry's name and inputs: a digest, and what it is of."""
    name = f"{os.environ['JOBD_STEP']}/{os.environ['JOBD_ENTRY']}\n".encode()
    body = name * 500 + b"".join(path.read_bytes()[:64] for path in inputs)
    return hashlib.sha256(body).hexdigest().encode() + body


def witness(ledger: Path, kind: str, note: str = "-") -> None:
    """Append one line in one write."""
    names = (os.environ[f"JOBD_{key}"] for key in ("JOB_ID", "STEP", "ENTRY", "ATTEMPT"))
    words = (kind, *names, os.getpid(), start_ticks(os.getpid()), time.time(), note)
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (" ".join(map(str, words)) + "\n").encode())
    os.close(fd)


def others(ledger: Path) -> set[tuple[int, int]]:
    """Find the processes that ran this entry before."""
    own = [os.environ[f"JOBD_{key}"] for key in ("JOB_ID", "STEP", "ENTRY")]
    rows = (line.split() for line in ledger.read_text().splitlines())
    return {(int(row[5]), int(row[6])) for row in rows if row[1:4] == own and int(row[5]) != os.getpid()}


def start_ticks(pid: int) -> int:
    """Give the clock ticks from boot to a process's start; -1 when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


if __name__ == "__main__":
    main()
