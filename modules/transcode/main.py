"""Encodes the first picture and sound stream of a video anew; subtitles and further streams are left out."""

import argparse
import os
import time
from pathlib import Path
from typing import NoReturn

import av
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.video.frame import PictureType

ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
SOUND_ENCODERS = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame"}
QUALITY = {"h264": 23, "hevc": 28, "vp9": 32, "av1": 35}
# The speeds of x264 and x265 have names; vp9 (cpu-used) and av1 (preset) count them, upwards to the fast end.
SPEEDS = {
    "ultrafast": (5, 10),
    "veryfast": (4, 9),
    "fast": (3, 8),
    "medium": (2, 6),
    "slow": (1, 4),
    "veryslow": (0, 2),
}
# How to set a picture upright that the camera took turned by so many degrees.
TURNS = {90: ["transpose=cclock"], -90: ["transpose=clock"], 180: ["hflip", "vflip"], -180: ["hflip", "vflip"]}


def main() -> None:
    """Write `--video` encoded anew to `--result`, in the container that its ending names."""
    options = arguments()
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
        if not media.streams.video:
            fail(f"{path.name} has no video stream")
        first = next(media.decode(media.streams.video[0]), None)
    if first is None:
        fail(f"the video stream of {path.name} holds no picture that can be decoded")
    return first


def transcode(
    media: InputContainer, output: OutputContainer, first: av.VideoFrame, options: argparse.Namespace
) -> None:
    """Decode picture and sound side by side, and encode each frame as it comes."""
    source = media.streams.video[0]
    source.thread_type, source.codec_context.thread_count = "AUTO", threads(options)
    graph = shaper(source, first.rotation, options)
    graph.vpush(first)
    picture = add_picture(output, source, graph.vpull(), options)
    listen = media.streams.audio[:1] if options.audio_codec != "none" else ()
    sound = add_sound(output, listen[0], options) if listen else None
    progress = Progress((media.duration or 0) / av.time_base)
    end = 0.0
    for frame in media.decode(source, *listen):
        if isinstance(frame, av.VideoFrame):
            graph.vpush(frame)
            shaped = graph.vpull()
            shaped.pict_type = PictureType.NONE  # or else the encoder repeats the source's choice of key frames
            output.mux(picture.encode(shaped))
            end = (frame.time or 0.0) - (first.time or 0.0)
            progress.at(end)
        elif sound and isinstance(frame, av.AudioFrame):
            output.mux(sound.encode(frame))
    output.mux(picture.encode(None))
    if sound:
        output.mux(sound.encode(None))
    check_whole(source, end, options.video.name)


def shaper(source: av.VideoStream, rotation: int, options: argparse.Namespace) -> Graph:
    """Filters that set the picture upright, make its pixels square, and scale it to even sides."""
    if options.width and options.height:
        inside = "force_original_aspect_ratio=decrease:force_divisible_by=2"
        size = f"{options.width}:{options.height}:{inside}"
    elif options.width or options.height:
        size = f"{options.width // 2 * 2 or -2}:{options.height // 2 * 2 or -2}"
    else:
        size = "trunc(iw/2)*2:trunc(ih/2)*2"
    chain = [*TURNS.get(rotation, []), "scale=iw*sar:ih", "setsar=1", f"scale={size}", "format=yuv420p"]
    graph = Graph()
    nodes = [graph.add_buffer(template=source)]
    nodes += [graph.add(name, arguments) for name, _, arguments in (step.partition("=") for step in chain)]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def add_picture(
    output: OutputContainer, source: av.VideoStream, shape: av.VideoFrame, options: argparse.Namespace
) -> av.VideoStream:
    """Add the picture's encoder, set up for frames like `shape`, in the time base and colours of the source."""
    stream = output.add_stream(ENCODERS[options.codec], rate=source.average_rate or source.guessed_rate or 25)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.pix_fmt = shape.width, shape.height, "yuv420p"
    coder, old = stream.codec_context, source.codec_context
    coder.time_base = source.time_base or coder.time_base
    coder.thread_count = threads(options)
    coder.color_range, coder.colorspace = old.color_range, old.colorspace
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
    rate = 48000 if name == "opus" else min(source.rate, 48000)
    stream = output.add_stream(SOUND_ENCODERS[name], rate=rate, layout="mono" if source.channels == 1 else "stereo")
    assert isinstance(stream, av.AudioStream)
    stream.bit_rate = options.audio_bitrate * 1000
    return stream


def threads(options: argparse.Namespace) -> int:
    """How many threads the encoder may use: as asked, or what the environment grants this process."""
    granted = os.environ.get("OMP_NUM_THREADS", "")
    return options.threads or (int(granted) if granted.isdigit() else 0) or len(os.sched_getaffinity(0))


def check_whole(stream: av.stream.Stream, end: float, name: str) -> None:
    """Fail when the stream stops well before the length it claims, for then the file was cut off on its way here."""
    length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if end < 0.9 * length - 1:
        fail(f"{name} is cut off: it holds {end:.1f} s of {length:.1f} s")


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
