"""`python -m benchmarks`: measures what is asked for, prints one table, and writes it down."""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import measures, report
from benchmarks.bench import Bench
from benchmarks.machine import this_machine
from benchmarks.row import Row
from benchmarks.time_limit import limited
from benchmarks.workload import Workload

_ROUNDS, _QUICK_ROUNDS = 5, 2


def main() -> int:
    """Measure; a goal that is missed is a result like any other, and only what breaks down is an error."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends it, its daemons end with it
    machine, begun = this_machine(), time.time()
    rows, broken = _measure(options)
    result = report.Result(machine=machine, when=begun, seconds=time.time() - begun, quick=options.quick, rows=rows)
    print(report.as_text(result))
    report.write_json(result, options.json)
    if options.save:
        report.save(result)
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


def _measure(options: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """Give the rows of all measures that could be made, and what became of the others."""
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    rows: list[Row] = []
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="jobd-bench-") as folder:
        workload = Workload(Path(folder))
        workload.write()
        with Bench(workload, quick=options.quick, rounds=rounds).closing() as bench:
            for key in options.only or measures.USUAL:
                print(f"{key}: {measures.about(key)}", file=sys.stderr)
                begun = time.monotonic()
                try:
                    with limited(measures.limit(key)):
                        rows += measures.MEASURES[key](bench)
                    print(f"  {key} took {time.monotonic() - begun:.0f} s", file=sys.stderr)
                except KeyboardInterrupt:
                    broken.append(f"{key} was interrupted, and what was to follow is missing")
                    break
                except Exception as error:  # noqa: BLE001 - the others are measured all the same, and it is told
                    broken.append(f"{key} broke down: {type(error).__name__}: {error}")
                    print(broken[-1], file=sys.stderr)
                    bench.release()  # whatever state the daemon is in, the next measure begins with another
    return rows, broken


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: minutes, and rougher figures")
    parser.add_argument("--only", nargs="+", choices=list(measures.MEASURES), metavar="MEASURE", help=_list())
    parser.add_argument("--rounds", type=int, help=f"how often each side is run ({_ROUNDS}; quick: {_QUICK_ROUNDS})")
    parser.add_argument("--json", type=Path, default=report.LATEST, help="where the result goes (%(default)s)")
    parser.add_argument("--save", action="store_true", help="put the result into docs/performance.md and its chart")
    return parser


def _list() -> str:
    return "; ".join(f"{key}: {measures.about(key)}".replace("%", "%%") for key in measures.MEASURES)


if __name__ == "__main__":
    sys.exit(main())
