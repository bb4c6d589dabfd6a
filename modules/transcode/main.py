"""Encodes the first picture and sound stream of a video anew; subtitles and further streams are left out."""

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.reformatter import Colorspace

ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
SOUND_ENCODERS = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame"}
QUALITY = {"h264": 23, "hevc": 28, "vp9": 32, "av1": 35}
WORST = {"h264": 51, "hevc": 51, "vp9": 63, "av1": 63}  # the largest crf that each codec has
# The speeds of x264 and x265 have names; vp9 (cpu-used) and av1 (preset) count them, upwards to the fast end.
SPEEDS = {
    "ultrafast": (5, 10),
    "veryfast": (4, 9),
    "fast": (3, 8),
    "medium": (2, 6),
    "slow": (1, 4),
    "veryslow": (0, 2),
}
# Containers that say only how long they are as a whole, which need not be so of each stream in them.
WHOLES = {"matroska,webm", "mpegts", "mpeg", "flv", "asf"}
# How to set a picture upright that the camera took turned by so many degrees.
TURNS = {90: ["transpose=cclock"], -90: ["transpose=clock"], 180: ["hflip", "vflip"], -180: ["hflip", "vflip"]}


def main() -> None:
    """Write `--video` encoded anew to `--result`, in the container that its ending names."""
    options = arguments()
    if options.crf > WORST[options.codec]:
        fail(f"crf {options.crf} is more than {options.codec} has; give 0 to {WORST[options.codec]}")
    try:
        first = first_picture(options.video)
        index_first = {"movflags": "+faststart"} if options.result.suffix in {".mp4", ".m4v", ".mov"} else {}
        with av.open(options.video) as media, av.open(options.result, "w", options=index_first) as output:
            transcode(media, output, first, options)
    except (av.FFmpegError, ValueError) as error:
        fail(f"cannot transcode {options.video.name}: {getattr(error, 'strerror', None) or error}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--video", type=Path, required=True, help="the video")
    parser.add_argument("--result", type=Path, required=True, help="the video to write")
    parser.add_argument("--codec", choices=tuple(ENCODERS), default="h264", help="of the picture")
    parser.add_argument("--width", type=int, default=0, help="in pixels; 0 follows from the height")
    parser.add_argument("--height", type=int, default=0, help="in pixels; 0 follows from the width")
    parser.add_argument("--crf", type=int, default=-1, help="quality, smaller is better; -1 takes what suits the codec")
    parser.add_argument("--preset", choices=tuple(SPEEDS), default="medium", help="the slower, the smaller the file")
    parser.add_argument("--audio_codec", choices=("auto", *SOUND_ENCODERS, "none"), default="auto", help="of the sound")
    parser.add_argument("--audio_bitrate", type=int, default=128, help="of the sound, in kilobits a second")
    parser.add_argument("--threads", type=int, default=0, help="of the encoder; 0 takes what the environment grants")
    return parser.parse_args()


def first_picture(path: Path) -> av.VideoFrame:
    """Decode the first picture; only it says how the camera was held."""
    with av.open(path) as media:
        first = next(media.decode(picture_of(media)), None)
    if first is None:
        fail(f"the video stream of {path.name} holds no picture that can be decoded")
    return first


def picture_of(media: InputContainer) -> av.VideoStream:
    """Choose the first video stream in a known codec; the cover of an album is none."""
    moving = [stream for stream in media.streams.video if not stream.disposition & Disposition.attached_pic]
    picture = next((stream for stream in moving if stream.codec_context), None)
    if picture is None:
        which = " in a known codec" if moving else ""
        fail(f"{Path(media.name).name} has no video stream{which}")
    return picture


def sound_of(media: InputContainer) -> av.AudioStream | None:
    """Choose the first audio stream in a known codec, if there is a sound."""
    sound = next((stream for stream in media.streams.audio if stream.codec_context), None)
    if sound is None and media.streams.audio:
        fail(f"{Path(media.name).name} has no audio stream in a known codec; leave it out with audio_codec: none")
    return sound


def transcode(
    media: InputContainer, output: OutputContainer, first: av.VideoFrame, options: argparse.Namespace
) -> None:
    """Decode picture and sound side by side, and encode each frame as it comes."""
    source = picture_of(media)
    source.thread_type, source.codec_context.thread_count = "AUTO", threads(options)
    graph = shaper(source, first, options)
    graph.vpush(first)
    picture = add_picture(output, source, graph.vpull(), options)
    listen = sound_of(media) if options.audio_codec != "none" else None
    sound = Voice(add_sound(output, listen, options)) if listen else None
    progress = Progress((media.duration or 0) / av.time_base)
    end = 0.0
    for frame in onward(media.decode(source, *filter(None, [listen])), options.video.name):
        if isinstance(frame, av.VideoFrame):
            graph.vpush(frame)
            shaped = graph.vpull()
            shaped.pict_type = PictureType.NONE  # or else the encoder repeats the source's choice of key frames
            output.mux(picture.encode(shaped))
            start = (frame.time or 0.0) - (first.time or 0.0)
            end = max(end, start + float((frame.duration or 0) * (frame.time_base or 0)))
            progress.at(start)
        elif sound and isinstance(frame, av.AudioFrame):
            output.mux(sound.encode(frame))
    output.mux(picture.encode(None))
    if sound:
        output.mux(sound.encode(None))
    check_whole(source, end, options.video)


def onward(frames: Iterator[av.frame.Frame], name: str) -> Iterator[av.frame.Frame]:
    """Leave out pictures that come twice, as where recordings that overlap were joined; fail when time starts anew."""
    last = -math.inf
    for frame in frames:
        if isinstance(frame, av.VideoFrame) and frame.time is not None:
            if frame.time < last - 1:
                fail(f"the time of {name} goes back from {last:.1f} s to {frame.time:.1f} s; transcode its parts alone")
            if frame.time <= last:
                continue
            last = frame.time
        yield frame


def shaper(source: av.VideoStream, first: av.VideoFrame, options: argparse.Namespace) -> Graph:
    """Filters that set pictures like `first` upright, make their pixels square, and scale them to even sides."""
    if options.width and options.height:
        inside = "force_original_aspect_ratio=decrease:force_divisible_by=2"
        size = f"{options.width}:{options.height}:{inside}"
    elif options.width or options.height:
        size = f"{options.width // 2 * 2 or -2}:{options.height // 2 * 2 or -2}"
    else:
        size = "trunc(iw/2)*2:trunc(ih/2)*2"
    chain = [*TURNS.get(first.rotation, []), "scale=iw*sar:ih", "setsar=1", f"scale={size}", "format=yuv420p"]
    graph = Graph()
    wide = source.sample_aspect_ratio or Fraction(1)
    shape = {"video_size": f"{first.width}x{first.height}", "pix_fmt": first.format.name, "pixel_aspect": str(wide)}
    # Without its colours said here, scale would turn the picture into what it takes for usual ones.
    colours = {"colorspace": str(int(first.colorspace)), "range": str(int(first.color_range))}
    nodes = [graph.add("buffer", None, time_base=str(source.time_base), **shape, **colours)]
    nodes += [graph.add(name, arguments) for name, _, arguments in (step.partition("=") for step in chain)]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def add_picture(
    output: OutputContainer, source: av.VideoStream, shape: av.VideoFrame, options: argparse.Namespace
) -> av.VideoStream:
    """Add the picture's encoder, set up for frames and colours like those of `shape`, in the source's time base."""
    stream = output.add_stream(ENCODERS[options.codec], rate=source.average_rate or source.guessed_rate or 25)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.pix_fmt = shape.width, shape.height, "yuv420p"
    coder, old = stream.codec_context, source.codec_context
    coder.time_base = source.time_base or coder.time_base
    coder.thread_count = threads(options)
    if shape.duration:
        coder.flags |= Flags.frame_duration  # so that the last picture stays as long as in the source
    coder.color_range, coder.colorspace = shape.color_range, shape.colorspace
    if old.format and old.format.is_rgb:
        coder.colorspace = Colorspace.ITU601  # which scale takes for RGB, and players not for large pictures
    coder.color_primaries, coder.color_trc = old.color_primaries, old.color_trc
    quality = QUALITY[options.codec] if options.crf < 0 else options.crf
    cpu_used, preset = SPEEDS[options.preset]
    stream.options = {"crf": str(quality)} | {
        "h264": {"preset": options.preset},
        "hevc": {"preset": options.preset, "x265-params": f"log-level=error:pools={threads(options)}"},
        "vp9": {"b": "0", "deadline": "good", "row-mt": "1", "cpu-used": str(cpu_used)},
        "av1": {"preset": str(preset), "svtav1-params": f"lp={threads(options)}"},
    }[options.codec]
    if options.codec == "hevc" and output.format.name in {"mp4", "mov"}:
        coder.codec_tag = "hvc1"  # the one that Apple's players take
    return stream


def add_sound(output: OutputContainer, source: av.AudioStream, options: argparse.Namespace) -> av.AudioStream:
    """Add the sound's encoder, mono or stereo as the source is; more channels are mixed down to stereo."""
    name = options.audio_codec
    if name == "auto":
        name = "opus" if output.format.name == "webm" else "aac"
    taken = av.Codec(SOUND_ENCODERS[name], "w").audio_rates or []
    rate = source.rate if name != "opus" and source.rate in taken and source.rate <= 48000 else 48000
    channels = min(source.channels, 2)
    stream = output.add_stream(SOUND_ENCODERS[name], rate=rate, layout="mono" if channels == 1 else "stereo")
    assert isinstance(stream, av.AudioStream)
    most = 256 * channels if name == "opus" else options.audio_bitrate  # libopus refuses more; the others take less
    stream.bit_rate = min(options.audio_bitrate, most) * 1000
    return stream


def threads(options: argparse.Namespace) -> int:
    """How many threads the encoder may use: as asked, or what the environment grants this process."""
    granted = os.environ.get("OMP_NUM_THREADS", "")
    return options.threads or (int(granted) if granted.isdigit() else 0) or len(os.sched_getaffinity(0))


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


class Voice:
    """Encodes a sound, also one that changes on its way, as a broadcast does between stereo and 5.1."""

    def __init__(self, stream: av.AudioStream) -> None:
        self.stream, self.form, self.next = stream, None, -sys.maxsize
        self.resampler = av.AudioResampler()

    def encode(self, frame: av.AudioFrame | None) -> list[av.Packet]:
        """Encode a frame, or with None what is left."""
        pieces: list[av.AudioFrame] = []
        form = (frame.format.name, frame.layout.name, frame.sample_rate) if frame else None
        if form != self.form:
            pieces += self.resampler.resample(None)
            coder, self.form = self.stream.codec_context, form
            self.resampler = av.AudioResampler(coder.format, coder.layout, coder.sample_rate)
        if frame:
            pieces += self.resampler.resample(frame)
        packets = [packet for piece in self.onward(pieces) for packet in self.stream.encode(piece)]
        return packets if frame else packets + self.stream.encode(None)

    def onward(self, pieces: list[av.AudioFrame]) -> Iterator[av.AudioFrame]:
        """Time the pieces in samples, and leave out what comes twice, as where recordings that overlap were joined."""
        for piece in pieces:
            start = max(0, self.next) if piece.time is None else round(piece.time * piece.rate)
            if start >= self.next - piece.rate // 10:
                piece.pts, piece.time_base = max(start, self.next), Fraction(1, piece.rate)
                self.next = piece.pts + piece.samples
                yield piece


class Progress:
    """Prints how far the work is, at most four times a second."""

    def __init__(self, total: float) -> None:
        self.total, self.printed = total, 0.0

    def at(self, done: float) -> None:
        """Take note that `done` seconds of the total are done."""
        now = time.monotonic()
        if self.total > 0 and now - self.printed >= 0.25:
            self.printed = now
            print(f"openjd_progress: {min(100.0, 100 * done / self.total):.1f}", flush=True)


def fail(reason: str) -> NoReturn:
    """End with a reason that a person understands; jobd shows it as the cause of the failure."""
    print(f"openjd_fail: {reason}", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
