"""Finds the hard cuts of a video with libavfilter's scene change detector (scdet)."""

import argparse
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition

# Containers that say only how long they are as a whole, which need not be so of each stream in them.
WHOLES = {"matroska,webm", "mpegts", "mpeg", "flv", "asf"}


def main() -> None:
    """Write the scenes of `--video` to `--scenes`: JSON with the start, end (seconds) and cut score of each."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--video", type=Path, required=True, help="the video")
    parser.add_argument("--scenes", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--threshold", type=float, default=10.0, help="least score of a cut, 0 to 100 (default: 10)")
    options = parser.parse_args()
    try:
        result = detect(options.video, options.threshold)
    except av.FFmpegError as error:
        fail(f"cannot look for cuts in {options.video.name}: {error.strerror}")
    options.scenes.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def detect(path: Path, threshold: float) -> dict[str, object]:
    """Look at every picture; times count from the first one."""
    with av.open(path) as media:
        stream = picture_of(media)
        stream.thread_type = "AUTO"
        progress = Progress((media.duration or 0) / av.time_base)
        cuts: list[tuple[float, float]] = []
        first, end = None, 0.0
        for frame in scored(media.decode(stream), stream, threshold):
            first = first if first is not None else frame.time or 0.0
            start = (frame.time or 0.0) - first
            end = max(end, start + float((frame.duration or 0) * (frame.time_base or 0)))
            progress.at(start)
            if "lavfi.scd.time" in frame.metadata:  # scdet marks only the first picture of a new scene so
                cuts.append((start, float(frame.metadata["lavfi.scd.score"])))
        if first is None:
            fail(f"the video stream of {path.name} holds no picture that can be decoded")
        check_whole(stream, end, path)
    return {
        "file": path.name,
        "threshold": threshold,
        "duration": round(end, 3),
        "cuts": [{"time": round(time, 3), "score": round(score, 2)} for time, score in cuts],
        "scenes": scenes(cuts, end),
    }


def picture_of(media: InputContainer) -> av.VideoStream:
    """Choose the first video stream in a known codec; the cover of an album is none."""
    moving = [stream for stream in media.streams.video if not stream.disposition & Disposition.attached_pic]
    picture = next((stream for stream in moving if stream.codec_context), None)
    if picture is None:
        which = " in a known codec" if moving else ""
        fail(f"{Path(media.name).name} has no video stream{which}")
    return picture


def scored(frames: Iterator[av.VideoFrame], stream: av.VideoStream, threshold: float) -> Iterator[av.VideoFrame]:
    """Send the frames through scdet, which writes its score into each one's metadata."""
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(template=stream), graph.add("scdet", f"threshold={threshold}"), graph.add("buffersink")
    ).configure()
    for frame in frames:
        graph.vpush(frame)
        yield graph.vpull()


def scenes(cuts: list[tuple[float, float]], end: float) -> list[dict[str, float | None]]:
    """What lies between the cuts; a scene's score is that of the cut it begins with, and the first has none."""
    starts: list[tuple[float, float | None]] = [(0.0, None), *cuts]
    ends = [time for time, _ in cuts] + [end]
    return [
        {
            "number": number,
            "start": round(start, 3),
            "end": round(stop, 3),
            "duration": round(stop - start, 3),
            "score": round(score, 2) if score is not None else None,
        }
        for number, ((start, score), stop) in enumerate(zip(starts, ends, strict=True), start=1)
    ]


def check_whole(stream: av.stream.Stream, end: float, path: Path) -> None:
    """Fail when the stream stops well before the length it claims, for then the file was cut off on its way here."""
    whole = stream.container.format.name in WHOLES
    length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if whole:
        length = (stream.container.duration or 0) / av.time_base
    enough = 0.9 * length - 1
    if end < enough and not (whole and last_packet(path) >= enough):
        fail(f"{path.name} is cut off: it holds {end:.1f} s of {length:.1f} s")


def last_packet(path: Path) -> float:
    """When the last packet of any stream ends, in seconds by the file's own clock."""
    with av.open(path) as media:
        ends = ((packet.pts + (packet.duration or 0)) * packet.time_base for packet in media.demux() if packet.pts)
        return float(max(ends, default=Fraction(0)))


class Progress:
    """Prints how far the work is, once for every whole percent."""

    def __init__(self, total: float) -> None:
        self.total, self.shown = total, -1

    def at(self, done: float) -> None:
        """Take note that `done` seconds of the total are done."""
        percent = min(100, int(100 * done / self.total)) if self.total > 0 else 0
        if percent > self.shown:
            self.shown = percent
            print(f"openjd_progress: {percent}", flush=True)


def fail(reason: str) -> NoReturn:
    """End with a reason that a person understands; jobd shows it as the cause of the failure."""
    print(f"openjd_fail: {reason}", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
