"""Runs seeded random schedules of faults and checks after each that every promise was kept.

SEED is the first seed (by default the time), COUNT how many follow. Several schedules run at once in one installation
and share its faults; SEEDS, numbers with commas, runs exactly these together, as a line of an earlier output says.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from disk import Disk
from pace import Pace
from prefect_place import PrefectPlace
from suite import Options, Suite


def main() -> int:
    """Run; gives 1 when anything was violated."""
    options = _options()
    print(f"SEED={options.seeds[0]} COUNT={len(options.seeds)} in {options.folder}", flush=True)
    if not options.disks:
        print("SKIPPED fill_disk, reboot_read_only and the boot's name: this user may not mount anything", flush=True)
    begun = time.monotonic()
    with PrefectPlace(options.folder / "prefect") as prefect:
        suite = Suite(options, prefect.api_url)
        suite.run()
        paces = Pace(options.folder / "pace", prefect.api_url).measure() if options.pace else []
    violated = sum(map(len, suite.violations.values())) + len(paces)
    deeds = ", ".join(f"{count} {kind}" for kind, count in sorted(suite.deeds.items()))
    print(f"what was done: {deeds}")
    print(f"{suite.ran} schedules (seeds {options.seeds[0]}..{options.seeds[-1]}), {suite.jobs} jobs", end=", ")
    print(f"{violated} violations in {time.monotonic() - begun:.0f} s")
    complete = suite.ran == len(options.seeds)
    if violated or options.keep or not complete:
        print(f"all that is left is in {options.folder}; `SEEDS=<seeds that ran together>` runs them again")
    else:
        shutil.rmtree(options.folder)
    return 0 if complete and not violated else 1


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=int(os.environ.get("SEED") or int(time.time())))
    add("--count", type=int, default=int(os.environ.get("COUNT") or 200))
    add("--seeds", default=os.environ.get("SEEDS", ""), help="exactly these, all at once")
    add("--together", type=int, default=10, help="how many schedules share an installation at once")
    add("--folder", type=Path, default=None)
    add("--keep", action="store_true", help="remove nothing at the end")
    add("--no-record", dest="record", action="store_false", help="do not wait for Prefect's record")
    add("--no-pace", dest="pace", action="store_false", help="do not measure jobs while Prefect is broken")
    given = parser.parse_args()
    seeds = [int(word) for word in given.seeds.split(",") if word]
    # Short, because a unix socket's path is.
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="jf"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return Options(
        seeds=tuple(seeds or range(given.seed, given.seed + given.count)),
        together=len(seeds) or given.together,
        folder=folder,
        disks=Disk.may_mount(),
        keep=given.keep,
        record=given.record,
        pace=given.pace,
    )


if __name__ == "__main__":
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    sys.exit(main())
