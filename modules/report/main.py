"""Puts what the other modules found out about a video on one HTML page that needs no network."""

import argparse
import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from PIL import Image

STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # seconds between two times of a scale
LEFT, RIGHT = -45.0, 0.0  # LUFS at the two ends of the loudness gauge

CODECS = {"h264": "H.264", "hevc": "H.265", "vorbis": "Vorbis", "opus": "Opus", "pcm_s16le": "PCM, 16 bit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image to be shown: its name, its size in pixels, and its bytes as a data URI."""

    name: str
    width: int
    height: int
    uri: str


def main() -> None:
    """Write the page to `--page`; every other input may be missing, and its part of the page is then left out."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    for name in ("facts", "scenes", "loudness", "transcript"):
        parser.add_argument(f"--{name}", type=Path, help=f"JSON file of the {name}")
    parser.add_argument("--contact_sheet", type=Path, help="image with stills")
    parser.add_argument("--waveform", type=Path, help="image of the sound")
    parser.add_argument("--images", type=Path, nargs="+", default=[], help="further images")
    parser.add_argument("--page", type=Path, required=True, help="the HTML page to write")
    parser.add_argument("--title", default="", help="heading (default: the video's name)")
    parser.add_argument("--target", type=float, default=-23.0, help="loudness aimed at in LUFS (default: -23)")
    options = parser.parse_args()
    shown = [options.facts, options.scenes, options.loudness, options.transcript, options.contact_sheet]
    if not any([*shown, options.waveform, *options.images]):
        fail("there is nothing to report: give at least one input")
    options.page.write_text(render(options), encoding="utf-8")


def render(options: argparse.Namespace) -> str:
    """Fill the template, which holds all of the page's words and looks."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(clock=clock, size=size, rate=rate, codec=codec, number=number)
    facts, scenes = load(options.facts), load(options.scenes)
    length = float(facts.get("duration") or scenes.get("duration") or 0)
    try:
        return environment.get_template("report.html.j2").render(
            title=options.title or facts.get("file") or "Report",
            facts=facts,
            scenes=scenes,
            loudness=load(options.loudness),
            transcript=load(options.transcript),
            contact_sheet=picture(options.contact_sheet),
            waveform=picture(options.waveform),
            images=[picture(path) for path in options.images],
            length=length,
            ticks=ticks(float(scenes.get("duration") or length)),
            target=options.target,
            on_gauge=on_gauge,
        )
    except (jinja2.UndefinedError, TypeError, ValueError) as error:
        fail(f"an input is not what the module of that name writes: {error}")


def load(path: Path | None) -> dict[str, Any]:
    """Read a JSON object; a missing one is empty."""
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        fail(f"{path.name} is not JSON: {error}")
    if not isinstance(content, dict):
        fail(f"{path.name} holds no JSON object")
    return content


def picture(path: Path | None) -> Picture | None:
    """Read an image whole, so that the page carries it inside."""
    if path is None:
        return None
    try:
        with Image.open(path) as image:
            kind = Image.MIME[str(image.format)]
            width, height = image.size
    except (OSError, KeyError):
        fail(f"{path.name} is not an image that can be shown")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return Picture(name=path.stem, width=width, height=height, uri=f"data:{kind};base64,{data}")


def ticks(length: float) -> list[float]:
    """Times for a scale of about eight parts over `length` seconds."""
    step = next((step for step in STEPS if step >= length / 10), float(STEPS[-1]))
    return [number * step for number in range(int(length / step) + 1)] if length > 0 else []


def on_gauge(lufs: float) -> float:
    """Where a loudness lies on the gauge, in per cent from its left end."""
    return round(100 * (min(max(lufs, LEFT), RIGHT) - LEFT) / (RIGHT - LEFT), 2)


def number(value: float, form: str = "%g") -> str:
    """A number with a real minus sign."""
    return (form % value).replace("-", "\N{MINUS SIGN}")


def clock(seconds: float, digits: int = 0) -> str:
    """A time as people write it, to a tenth of a second below a minute: 0:05.2, 12:30, 1:02:03."""
    if seconds < 59.95:
        digits = 1 if round(seconds % 1, 1) % 1 else digits
        return f"0:{seconds:0{3 + digits if digits else 2}.{digits}f}"
    whole = round(seconds)
    hours = f"{whole // 3600}:{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    return f"{hours}:{whole % 60:02}"


def codec(name: str | None) -> str:
    """A codec's name as people write it."""
    return CODECS.get(name, name.upper()) if name else "Unknown codec"


def size(count: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def rate(bits: float | None) -> str:
    """A number of bits a second in the unit that suits it."""
    if not bits:
        return "–"  # noqa: RUF001 - a dash stands for nothing in a table
    return f"{bits / 1e6:.2f} Mbit/s" if bits >= 1e6 else f"{bits / 1000:.0f} kbit/s"


def fail(reason: str) -> NoReturn:
    """End with a reason that a person understands; jobd shows it as the cause of the failure."""
    print(f"openjd_fail: {reason}", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
