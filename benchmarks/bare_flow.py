"""A warm interpreter that calls a bare flow for every line it reads, and prints the seconds until its body began."""

import sys
import time

from prefect import flow

_reached: list[float] = []


@flow
def bare_flow() -> None:
    """Note when the body is reached."""
    _reached.append(time.perf_counter())


if __name__ == "__main__":
    for _ in sys.stdin:
        begun = time.perf_counter()
        bare_flow()
        print(_reached.pop() - begun, flush=True)
