"""Takes the sound out of a video as 16-bit PCM in a WAV file."""

import argparse
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition

# Containers that say only how long they are as a whole, which need not be so of each stream in them.
WHOLES = {"matroska,webm", "mpegts", "mpeg", "flv", "asf"}
GAP = 0.1  # seconds: what is missing for less than this is how roughly containers count
JUMP = 10.0  # seconds: where a container may set its clock anew, more than this is no gap


def main() -> None:
    """Write the first audio stream of `--video` to `--audio`, resampled and mixed down when asked for.

    Times in the WAV file are those of the video: silence stands where the video has a picture and no sound.
    """
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--video", type=Path, required=True, help="the video")
    parser.add_argument("--audio", type=Path, required=True, help="the WAV file to write")
    parser.add_argument("--sample_rate", type=int, default=0, help="samples a second (default: 0, as in the video)")
    parser.add_argument("--channels", type=int, default=0, choices=(0, 1, 2), help="0 for as in the video")
    options = parser.parse_args()
    try:
        with av.open(options.video) as media:
            extract(media, options)
    except av.FFmpegError as error:
        fail(f"cannot take the sound out of {options.video.name}: {error.strerror}")


def extract(media: InputContainer, options: argparse.Namespace) -> None:
    """Decode the first audio stream into the WAV file, in the rate and channels asked for."""
    sound = sound_of(media)
    frames = media.decode(sound)
    first = next(frames, None)
    if first is None:
        fail(f"the audio stream of {options.video.name} is empty or cannot be decoded")
    form = ("s16", {0: first.layout.name, 1: "mono", 2: "stereo"}[options.channels], options.sample_rate or first.rate)
    length = (media.duration or 0) / av.time_base
    longest = JUMP if media.format.flags & Flags.ts_discont.value else max(length, JUMP)
    begin = beginning(media, first, longest)
    progress, end = Progress(length), 0.0
    # rf64: beyond 4 GiB the plain header would overflow.
    with av.open(options.audio, "w", format="wav", options={"rf64": "auto"}) as output:
        encoder = output.add_stream("pcm_s16le", rate=form[2], layout=form[1])
        for piece in gapless(steady(itertools.chain([first], frames), form), begin, longest):
            end = piece.time + piece.samples / piece.sample_rate
            output.mux(encoder.encode(piece))
            progress.at(end)
        output.mux(encoder.encode(None))
    check_whole(sound, end - ((first.time or 0.0) - begin), options.video)


def sound_of(media: InputContainer) -> av.AudioStream:
    """Choose the first audio stream in a known codec."""
    sound = next((stream for stream in media.streams.audio if stream.codec_context), None)
    if sound is None:
        which = " in a known codec" if media.streams.audio else ""
        fail(f"{Path(media.name).name} has no audio stream{which}")
    return sound


def beginning(media: InputContainer, first: av.AudioFrame, longest: float) -> float:
    """When the video begins, by its own clock: with its picture, or with its sound if that comes first."""
    heard = first.time or 0.0
    moving = [stream for stream in media.streams.video if not stream.disposition & Disposition.attached_pic]
    shown = [float(stream.start_time * stream.time_base) for stream in moving if stream.start_time is not None]
    return min([heard, *(time for time in shown if heard - time <= longest)])


def steady(frames: Iterator[av.AudioFrame], form: tuple[str, str, int]) -> Iterator[av.AudioFrame]:
    """The sound in one form throughout; that of a broadcast may change between stereo and 5.1 on its way."""
    for _, alike in itertools.groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.rate)):
        resampler = av.AudioResampler(*form)
        for frame in itertools.chain(alike, [None]):
            yield from resampler.resample(frame)


def gapless(pieces: Iterator[av.AudioFrame], begin: float, longest: float) -> Iterator[av.AudioFrame]:
    """Time the sound from its beginning, and put silence where it begins late or has a gap."""
    done = 0
    for piece in pieces:
        gap = piece.time - begin - done / piece.rate if piece.time is not None else 0.0
        if not -1 <= gap <= longest:
            begin += gap
        elif gap > GAP:
            for silence in silences(round(gap * piece.rate), piece):
                yield timed(silence, done)
                done += silence.samples
        yield timed(piece, done)
        done += piece.samples


def silences(samples: int, like: av.AudioFrame) -> Iterator[av.AudioFrame]:
    """So many samples of silence, in frames of a second at most."""
    while samples > 0:
        silence = av.AudioFrame(like.format.name, like.layout.name, min(samples, like.rate))
        silence.rate = like.rate
        silence.planes[0].update(bytes(silence.planes[0].buffer_size))  # all channels lie in one plane
        yield silence
        samples -= silence.samples


def timed(frame: av.AudioFrame, start: int) -> av.AudioFrame:
    """Say of a frame at which sample it starts."""
    frame.pts, frame.time_base = start, Fraction(1, frame.rate)
    return frame


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
