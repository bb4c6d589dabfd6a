"""Takes the sound out of a video as 16-bit PCM in a WAV file."""

import argparse
from pathlib import Path
from typing import NoReturn

import av
from av.container import InputContainer


def main() -> None:
    """Write the first audio stream of `--video` to `--audio`, resampled and mixed down when asked for."""
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
    if not media.streams.audio:
        fail(f"{options.video.name} has no audio stream")
    sound = media.streams.audio[0]
    layout = {0: sound.layout.name, 1: "mono", 2: "stereo"}[options.channels]
    progress = Progress((media.duration or 0) / av.time_base)
    # rf64: beyond 4 GiB the plain header would overflow.
    with av.open(options.audio, "w", format="wav", options={"rf64": "auto"}) as output:
        encoder = output.add_stream("pcm_s16le", rate=options.sample_rate or sound.rate, layout=layout)
        end = 0.0
        for frame in media.decode(sound):
            output.mux(encoder.encode(frame))
            progress.at(frame.time or 0)
            end += frame.samples / frame.sample_rate
        if progress.shown < 0:
            fail(f"the audio stream of {options.video.name} is empty or cannot be decoded")
        output.mux(encoder.encode(None))
    check_whole(sound, end, options.video.name)


def check_whole(stream: av.stream.Stream, end: float, name: str) -> None:
    """Fail when the stream stops well before the length it claims, for then the file was cut off on its way here."""
    length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if end < 0.9 * length - 1:
        fail(f"{name} is cut off: it holds {end:.1f} s of {length:.1f} s")


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
