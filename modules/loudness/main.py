"""Measures the loudness of a sound after EBU R128 with libavfilter's meter (ebur128)."""

import argparse
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import av
from av.container import InputContainer
from av.filter import Graph

SILENCE = -70.0  # LUFS: below this gate the standard does not count a sound at all


def main() -> None:
    """Write the loudness of `--audio` to `--loudness` as JSON: LUFS, LU and dBTP; null where there is only silence."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--audio", type=Path, required=True, help="the sound")
    parser.add_argument("--loudness", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    try:
        result = measure(options.audio)
    except av.FFmpegError as error:
        fail(f"cannot measure {options.audio.name}: {error.strerror}")
    options.loudness.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def measure(path: Path) -> dict[str, object]:
    """Play the whole sound into the meter; its last reading holds for all of it."""
    last: dict[str, str] = {}
    timeline: list[dict[str, float | None]] = []
    with av.open(path) as media:
        progress = Progress((media.duration or 0) / av.time_base)
        for time, reading in readings(steady(media.decode(sound_of(media)))):
            last = reading or last
            progress.at(time)
            if reading and time >= len(timeline) + 1:
                timeline.append({"time": round(time, 1), "short_term_lufs": level(reading["lavfi.r128.S"])})
        if not progress.seen:
            fail(f"the audio stream of {path.name} is empty or cannot be decoded")
    return {"file": path.name, "standard": "EBU R128", **summary(last), "timeline": timeline}


def sound_of(media: InputContainer) -> av.AudioStream:
    """Choose the first audio stream in a known codec."""
    sound = next((stream for stream in media.streams.audio if stream.codec_context), None)
    if sound is None:
        which = " in a known codec" if media.streams.audio else ""
        fail(f"{Path(media.name).name} has no audio stream{which}")
    return sound


def steady(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """The sound in the form of its first frame; that of a broadcast may change between stereo and 5.1 on its way."""
    first = None
    for form, alike in itertools.groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.rate)):
        first = first or form
        resampler = av.AudioResampler(*first)
        for frame in itertools.chain(alike, [None]):
            yield from resampler.resample(frame)


def readings(frames: Iterator[av.AudioFrame]) -> Iterator[tuple[float, dict[str, str]]]:
    """Give the meter's display every 100 ms: seconds from the sound's start, and its values by libavfilter's names."""
    graph, number = None, itertools.count()
    for frame in frames:
        graph = graph or meter(frame)
        graph.push(frame)
        yield from ((next(number) / 10, values) for values in displayed(graph))
    if graph:
        graph.push(None)
        yield from ((next(number) / 10, values) for values in displayed(graph))


def meter(frame: av.AudioFrame) -> Graph:
    """Set the meter up for frames like this one."""
    graph = Graph()
    source = graph.add_abuffer(sample_rate=frame.rate, format=frame.format.name, layout=frame.layout.name)
    ebur128 = graph.add("ebur128", "metadata=1:peak=true+sample:framelog=quiet")
    graph.link_nodes(source, ebur128, graph.add("abuffersink")).configure()
    return graph


def displayed(graph: Graph) -> Iterator[dict[str, str]]:
    """Give what the meter has ready."""
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield dict(frame.metadata)


def summary(reading: dict[str, str]) -> dict[str, float | None]:
    """Name the figures of a reading; a sound shorter than the meter's 0.4 s window has none."""
    if not reading:
        names = ("integrated_lufs", "range_lu", "true_peak_dbtp", "sample_peak_dbfs")
        return dict.fromkeys(names)
    integrated = level(reading["lavfi.r128.I"])
    return {
        "integrated_lufs": integrated,
        "range_lu": round(float(reading["lavfi.r128.LRA"]), 1) if integrated is not None else None,
        "true_peak_dbtp": decibels(reading["lavfi.r128.true_peak"]),
        "sample_peak_dbfs": decibels(reading["lavfi.r128.sample_peak"]),
    }


def level(lufs: str) -> float | None:
    """A loudness to a tenth, or nothing when it is at or below the standard's gate or not a number."""
    value = float(lufs)
    return round(value, 1) if value > SILENCE else None


def decibels(amplitude: str) -> float | None:
    """A peak, given as a part of full scale, in decibels."""
    return round(20 * math.log10(float(amplitude)), 1) if float(amplitude) > 0 else None


class Progress:
    """Prints how far the work is, once for every whole percent."""

    def __init__(self, total: float) -> None:
        self.total, self.shown, self.seen = total, -1, False

    def at(self, done: float) -> None:
        """Take note that `done` seconds of the total are done."""
        self.seen = True
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
