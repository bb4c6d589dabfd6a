"""A module that does as a test tells it."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Note the attempt, wait, fail or write the output, as the options say."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--input", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--failures", type=int, default=0)
    parser.add_argument("--reason")
    parser.add_argument("--gate", type=Path)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--offspring", action="store_true")
    act(parser.parse_args())


def act(options: argparse.Namespace) -> None:
    """Do it."""
    attempts = note(options.ledger) if options.ledger else 1
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.offspring:
        sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
        subprocess.Popen(sleeper, start_new_session=True)
    print(f"the module speaks, attempt {os.environ['JOBD_ATTEMPT']}")
    print("a complaint", file=sys.stderr)
    print("openjd_status: at the gate", flush=True)
    while options.gate and not options.gate.exists():
        time.sleep(0.02)
    if attempts <= options.failures:
        if options.reason:
            print(f"openjd_fail: {options.reason}")
        sys.exit(9)
    options.output.write_bytes(b"".join(path.read_bytes() for path in options.input) + b"made\n")


def note(ledger: Path) -> int:
    """Write a line about this attempt; gives how many there are."""
    with ledger.open("a") as file:
        file.write(f"{os.environ['JOBD_ENTRY']} {os.environ['JOBD_ATTEMPT']} {os.getpid()}\n")
    return len(ledger.read_text().splitlines())


if __name__ == "__main__":
    main()
