"""Runs the media report from beginning to end: a daemon of its own, a video, the live view, the results.

Everything it makes is in `demo-out/`, and no part of a daemon that you run yourself is touched.
"""

import argparse
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from demo_daemon import BIN, LOG, OUT, REPOSITORY, SIGNALS, STATE, Daemon, DemoError, alone, running_daemon

JOB = REPOSITORY / "examples/media_report.yaml"
RESULTS = OUT / "results"

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
_PATIENCE_SECONDS = 3.0
"""How long the live view may take to leave the terminal as it was."""


class InterruptedDemoError(Exception):
    """A signal asked for the demo's end."""


def find_video(given: str | None) -> Path:
    """Give the path of the video; None has a sample made."""
    if given is None:
        return make_sample()
    video = Path(given).expanduser().absolute()
    if not video.is_file():
        raise DemoError(f"there is no video {video}; give the path of a file: make demo VIDEO=PATH")
    return video


def make_sample() -> Path:
    """Make the sample video, unless the newest one is there already."""
    sample, maker = OUT / "sample.mp4", REPOSITORY / "tools/make_sample.py"
    if not sample.exists() or sample.stat().st_mtime < maker.stat().st_mtime:
        _say(f"making a sample video, {sample}")
        part = OUT / "part-of-sample.mp4"
        done = subprocess.run([sys.executable, maker, part], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoError(f"no sample video could be made; give one: make demo VIDEO=PATH\n{done.stderr.strip()}")
        part.replace(sample)
    return sample


def run_job(daemon: Daemon, video: Path) -> tuple[int, str]:
    """Submit the media report and watch it; give jobctl's exit code, which is the job's, and the job's id."""
    job_id = ""
    words = daemon.command("submit", JOB, "--input", f"video={video}", "--watch")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            job_id = process.stdout.readline().strip() if process.stdout else ""
            code = process.wait()
        except InterruptedDemoError:
            _leave_view(process)
            if job_id:
                daemon.cancel(job_id)
            raise
    if code == EXIT_INTERRUPTED:
        raise InterruptedDemoError
    return code, job_id


def _leave_view(process: subprocess.Popen[str]) -> None:
    """Let the view tidy up the terminal: a Ctrl-C has reached it as well, any other signal has not."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
    process.wait()


def fetch_results(daemon: Daemon, job_id: str) -> None:
    """Put the results into a folder of their own, and say where they are."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    fetched = daemon.ask("download", job_id, "--to", RESULTS).splitlines()
    _say(f"\nreport     {(RESULTS / 'report.html').as_uri()}")
    _say(f"results    {RESULTS}: {', '.join(sorted(Path(path).name for path in fetched))}")


def tell_logs(job_id: str) -> None:
    """Say where the reasons of a failure stand; the last lines of the module were shown already."""
    _say(f"\nlogs       {STATE.job(job_id).logs if job_id else 'none, for there is no job'}")
    _say(f"           {LOG} (the daemon's own)")


def tell_dashboard(daemon: Daemon, job_id: str, *, goes_on: bool) -> None:
    """Say where the dashboard shows the run, and how to go on with a daemon that stays."""
    _say(f"dashboard  {daemon.ask('open', '--print', job_id).strip()}")
    if not goes_on:
        _say("           (it ends with the demo; `make demo KEEP=1` leaves it running)")
        return
    _say(f"\njobd goes on running. To talk to it:\n  export JOBCTL_ADDRESS={daemon.address}\n  {BIN / 'jobctl'} list")
    _say(f"To stop it, and its Prefect server:\n  kill {daemon.pid}")


def demonstrate(video: str | None, *, keep: bool) -> int:
    """Do all of it; gives the exit code, which is the job's."""
    source = find_video(video)
    with running_daemon(keep=keep) as daemon:
        _say(f"jobd {'was started' if daemon.process else 'runs already'}; its log is {LOG}")
        code, job_id = run_job(daemon, source)
        if code == 0:
            fetch_results(daemon, job_id)
        else:
            tell_logs(job_id)
        if job_id:
            tell_dashboard(daemon, job_id, goes_on=keep or daemon.process is None)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, run the demo, and give its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--video", metavar="PATH", help="a video with sound; one is made when none is given")
    parser.add_argument("--keep", action="store_true", help="leave the daemon running")
    options = parser.parse_args(argv)
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with alone():
            return demonstrate(options.video, keep=options.keep)
    except InterruptedDemoError:
        _say("\nthe demo was interrupted, and its job was cancelled")
        return EXIT_INTERRUPTED
    except (DemoError, OSError) as error:
        _say(f"demo: {error}")
        return EXIT_FAILED


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise InterruptedDemoError


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
