"""Makes the pictures in docs/pictures from a real run: the watch view, the dashboard, the report.

The watch view is what `jobctl submit --watch` drew on a terminal at three moments of a run, and at the end of one that
failed; `--terminal` makes these alone. The other two are taken with Debian's chromium.
"""

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from demo import fetch_results, make_sample
from demo_daemon import BIN, OUT, REPOSITORY, Daemon, DemoError, alone, running_daemon
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console
from rich.text import Text

PICTURES = REPOSITORY / "docs/pictures"
COLUMNS, ROWS = 96, 30
_CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
_PATIENCE_SECONDS = 90.0
_MOST_BYTES = 300_000
"""Of a picture; each lies in the history of the repository for ever."""

_REDRAW = re.compile(r"(?:\r?\x1b\[2K|\x1b\[1A|\x1b\[\?25[hl])+")
"""What the live view sends before it draws itself anew."""

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{
  font-family: "Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own frame for SVG, without the fonts that it loads from the network."""


def main() -> None:
    """Run the media report, and take the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with alone():
        sample = make_sample()
        with running_daemon() as daemon:
            _await_prefect(daemon)
            if "--terminal" not in sys.argv[1:]:
                record(f"jobctl submit examples/media_report.yaml --input video={sample} --watch", daemon.address)
                shoot_pages(daemon)
            draw_views(daemon, sample)


def draw_views(daemon: Daemon, sample: Path) -> None:
    """Draw a job at three moments, of a film long enough to be watched, and one that fails for want of sound."""
    film, silent = OUT / "film.mp4", OUT / "silent.mp4"
    lengthen(sample, film, times=3)
    lengthen(sample, silent, times=2, sound=False)
    command = "jobctl submit examples/media_report.yaml --input video=demo-out/{} --watch"
    view = View.read(command.format(film.name), record(command.format(film.name), daemon.address))
    view.draw(view.begin(), PICTURES / "watch-begin.svg")
    view.draw(view.middle(), PICTURES / "watch.svg")
    view.draw(view.end, PICTURES / "watch-end.svg")
    failed = record(command.format(silent.name), daemon.address, code=1)
    view = View.read(command.format(silent.name), failed)
    view.draw(view.end, PICTURES / "watch-failed.svg")


def shoot_pages(daemon: Daemon) -> None:
    """Take pictures of the latest job in the dashboard, and of its report."""
    fetch_results(daemon, "@latest")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_ARGUMENTS))
        shoot_dashboard(browser, daemon.ask("open", "--print", "@latest").strip(), PICTURES / "dashboard.png")
        shoot_report(browser, OUT / "results/report.html", PICTURES / "report.png")
        browser.close()


def lengthen(source: Path, target: Path, *, times: int, sound: bool = True) -> None:
    """Write the video so many times in a row, as it is encoded; with its sound, or without."""
    with av.open(target, "w") as output:
        with av.open(source) as film:
            length = Fraction(film.duration or 0, av.time_base) + Fraction(1, 10)  # sound begins before 0
            kept = [stream for stream in film.streams if sound or stream.type != "audio"]
            streams = {stream.index: output.add_stream_from_template(stream) for stream in kept}
        for number in range(times):
            with av.open(source) as film:
                for packet in film.demux():
                    if packet.pts is None or packet.dts is None or packet.stream_index not in streams:
                        continue
                    shift = round(number * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream_index]
                    output.mux(packet)


def _await_prefect(daemon: Daemon) -> None:
    """Wait until jobs start at once, so that the picture does not show a queue."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while "prefect: ready" not in daemon.ask("ping"):
        if time.monotonic() > deadline:
            raise DemoError(f"Prefect is not ready: {daemon.ask('ping')}")
        time.sleep(0.2)


def record(command: str, address: str, *, code: int = 0) -> str:
    """Run a command line of jobctl on a terminal of its own, and give everything that it wrote there.

    DemoError when it ends with another exit code.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    program, *words = command.split()
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "JOBCTL_ADDRESS": address}
    process = subprocess.Popen(
        [BIN / program, *words], cwd=REPOSITORY, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = bytearray()
    try:
        while piece := os.read(ours, 1 << 16):
            written += piece
    except OSError:  # how Linux says that nobody has the other end open any more
        pass
    finally:
        os.close(ours)
    if process.wait() != code:
        raise DemoError(f"{command} ended with {process.returncode}: {written.decode(errors='replace')}")
    return written.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the live view of one job showed, picture by picture."""

    command: str
    """The command line that was typed."""
    first: str
    """What it printed before the first picture."""
    pictures: tuple[str, ...]
    """Every picture, in order."""
    end: str
    """The last one, which stays, and what is said below it."""

    @classmethod
    def read(cls, command: str, written: str) -> "View":
        """Take apart what was written on a terminal."""
        first, *pictures, end = _REDRAW.split(written)
        return cls(command=command, first=first, pictures=tuple(pictures), end=end)

    def begin(self) -> str:
        """Give the first picture in which something is on its way."""
        return next(picture for picture in self.pictures if " 0 %" not in picture and "%" in picture)

    def middle(self) -> str:
        """Give the fullest picture: with many bars that are neither empty nor full, then with many ended entries."""
        return max(self.pictures, key=_fullness)

    def draw(self, picture: str, target: Path) -> None:
        """Draw one of the pictures below the command and what it printed first."""
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
        screen = f"\x1b[32m$\x1b[0m {self.command}\n{self.first}{picture.rstrip()}"
        console.print(Text.from_ansi(screen.replace("\r\n", "\n")))
        svg = console.export_svg(title="jobctl", code_format=_SVG, unique_id=target.stem)
        target.write_text(svg, encoding="utf-8")


def _fullness(picture: str) -> tuple[int, int]:
    return sum(0 < int(percent) < 100 for percent in re.findall(r"(\d+) %", picture)), picture.count("✓")


def shoot_dashboard(browser: Browser, url: str, target: Path) -> None:
    """Take a picture of a finished flow run, once its graph and its log are drawn."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    expect(page.locator(".page-heading-flow-run .state-badge")).to_have_text(
        "Completed", timeout=_PATIENCE_SECONDS * 1e3
    )
    expect(page.locator(".log-row").first).to_be_visible(timeout=_PATIENCE_SECONDS * 1e3)
    _shoot_still(page, target)


def shoot_report(browser: Browser, report: Path, target: Path) -> None:
    """Take a picture of the upper part of the report."""
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.goto(report.as_uri())
    _shoot_still(page, target)


def _shoot_still(page: Page, target: Path) -> None:
    """Save the picture once it does not change any more; with fewer colours if it would be large."""
    deadline, before = time.monotonic() + _PATIENCE_SECONDS, b""
    while (now := page.screenshot()) != before and time.monotonic() < deadline:
        before = now
        page.wait_for_timeout(1000)
    image = Image.open(io.BytesIO(now)).convert("RGB")
    image.save(target, optimize=True)
    if target.stat().st_size > _MOST_BYTES:
        image.quantize(palette=image.quantize(256), dither=Image.Dither.FLOYDSTEINBERG).save(target, optimize=True)


if __name__ == "__main__":
    main()
