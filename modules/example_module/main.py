"""The smallest module that does something real: takes the sound out of a video."""

import argparse
from pathlib import Path
from typing import NoReturn

import av


def main() -> None:
    """Write the first audio stream of `--input` to `--output`; its ending (.wav, .mp3, .flac …) decides the format."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--input", type=Path, required=True, help="the video")
    parser.add_argument("--output", type=Path, required=True, help="the audio file to write")
    options = parser.parse_args()
    try:
        extract(options.input, options.output)
    except (av.FFmpegError, ValueError) as error:
        fail(f"cannot take the sound out of {options.input.name}: {getattr(error, 'strerror', None) or error}")


def extract(source: Path, target: Path) -> None:
    """Decode the first audio stream and encode it anew in the format that the target's ending names."""
    with av.open(source) as media:
        sound = next((stream for stream in media.streams.audio if stream.codec_context), None)
        if sound is None:
            which = " in a known codec" if media.streams.audio else ""
            fail(f"{source.name} has no audio stream{which}")
        try:
            output = av.open(target, "w")
        except ValueError:
            fail(f"no audio format has the ending of {target.name}; end its name in .wav, .flac or .mp3")
        with output:
            encoder = output.add_stream(str(output.default_audio_codec), rate=sound.rate, layout=sound.layout.name)
            assert isinstance(encoder, av.AudioStream)
            form = frame = None
            for frame in media.decode(sound):
                form = form or (frame.format.name, frame.layout.name, frame.rate)
                if form != (frame.format.name, frame.layout.name, frame.rate):
                    fail(f"the sound of {source.name} changes its form on its way; extract_audio can follow that")
                output.mux(encoder.encode(frame))
            if frame is None:
                fail(f"the audio stream of {source.name} is empty or cannot be decoded")
            output.mux(encoder.encode(None))


def fail(reason: str) -> NoReturn:
    """End with a reason that a person understands; jobd shows it as the cause of the failure."""
    print(f"openjd_fail: {reason}", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
