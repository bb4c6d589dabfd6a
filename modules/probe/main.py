"""Says what is in a video file: container, duration, bit rate, and every stream."""

import argparse
import json
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
from av.container import InputContainer

Fact = str | int | float | None


def main() -> None:
    """Read the headers of `--video` and write what they say to `--facts` as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--video", type=Path, required=True, help="the file to look at")
    parser.add_argument("--facts", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    try:
        with av.open(options.video) as media:
            facts = describe(media, options.video)
    except av.FFmpegError as error:
        fail(f"{options.video.name} cannot be read as a video: {error.strerror}")
    options.facts.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def describe(media: InputContainer, path: Path) -> dict[str, object]:
    """Facts of the whole file. Seconds, bytes and bits per second; null where the file does not say."""
    if not any(stream.type in {"video", "audio"} for stream in media.streams):
        fail(f"{path.name} holds neither picture nor sound")
    return {
        "file": path.name,
        "container": {"format": media.format.name, "description": media.format.long_name},
        "size": path.stat().st_size,
        "duration": seconds(media.duration, Fraction(1, av.time_base)),
        "bit_rate": media.bit_rate or None,
        "tags": dict(media.metadata),
        "streams": [stream_facts(stream) for stream in media.streams],
    }


def stream_facts(stream: av.stream.Stream) -> dict[str, object]:
    """Facts of one stream: what all kinds have, and what only its own kind has."""
    codec = stream.codec_context  # none where libavcodec does not know the codec
    facts: dict[str, object] = {
        "index": stream.index,
        "type": stream.type,
        "codec": codec.codec.canonical_name if codec else None,
        "codec_description": codec.codec.long_name if codec else None,
        "profile": codec.profile if codec else None,
        "bit_rate": (codec.bit_rate or None) if codec else None,
        "duration": seconds(stream.duration, stream.time_base),
        "language": stream.language if stream.language != "und" else None,
    }
    if isinstance(stream, av.VideoStream):
        facts |= picture_facts(stream)
    elif isinstance(stream, av.AudioStream):
        facts |= sound_facts(stream)
    return facts


def picture_facts(stream: av.VideoStream) -> dict[str, Fact]:
    """Size in pixels and frames per second; the exact rate and the shapes as fractions."""
    rate = stream.average_rate or stream.guessed_rate
    shape = getattr(stream, "display_aspect_ratio", None)
    return {
        "width": getattr(stream, "width", None),
        "height": getattr(stream, "height", None),
        "pix_fmt": getattr(stream, "pix_fmt", None),
        "frame_rate": round(float(rate), 3) if rate else None,
        "frame_rate_exact": str(rate) if rate else None,
        "frames": stream.frames or None,
        "sample_aspect_ratio": str(stream.sample_aspect_ratio or 1),
        "display_aspect_ratio": str(shape) if shape else None,
    }


def sound_facts(stream: av.AudioStream) -> dict[str, Fact]:
    """Sample rate in Hz, sample format, and the channels by number and name."""
    sample, layout = getattr(stream, "format", None), getattr(stream, "layout", None)
    return {
        "sample_rate": getattr(stream, "rate", None),
        "sample_format": sample.name if sample else None,
        "channels": getattr(stream, "channels", None),
        "layout": layout.name if layout else None,
    }


def seconds(ticks: int | None, tick: Fraction | None) -> float | None:
    """A number of ticks as seconds, or nothing where the file does not say."""
    return round(float(ticks * tick), 6) if ticks is not None and tick is not None else None


def fail(reason: str) -> NoReturn:
    """End with a reason that a person understands; jobd shows it as the cause of the failure."""
    print(f"openjd_fail: {reason}", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
