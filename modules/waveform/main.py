"""Draws the waveform of a sound with a time scale: peaks in the given colour, the average power inside them darker."""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from PIL import Image, ImageColor, ImageDraw, ImageFont

GREY = (128, 132, 142, 255)  # readable on white and on black
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # seconds between two times
FINE = 2  # everything is drawn so much larger and then made smaller, which smooths the edges

Levels = npt.NDArray[np.float32]


def main() -> None:
    """Write a picture of the sound of `--audio` to `--image`, a PNG or WebP by its ending."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--audio", type=Path, required=True, help="the sound")
    parser.add_argument("--image", type=Path, required=True, help="the image to write")
    parser.add_argument("--width", type=int, default=1600, help="in pixels (default: 1600)")
    parser.add_argument("--height", type=int, default=320, help="in pixels (default: 320)")
    parser.add_argument("--colour", default="#4f7cff", help="a name or #rrggbb (default: #4f7cff)")
    options = parser.parse_args()
    try:
        colour = ImageColor.getrgb(options.colour)[:3]
        with av.open(options.audio) as media:
            levels, seconds = listen(media)
        draw(levels, seconds, (options.width, options.height), colour).save(options.image)
    except av.FFmpegError as error:
        fail(f"cannot read the sound of {options.audio.name}: {error.strerror}")
    except (ValueError, OSError) as error:
        fail(f"cannot draw the waveform: {error}")


def listen(media: InputContainer) -> tuple[Levels, float]:
    """Peak and root mean square of every few milliseconds (0 to 1), and the length in seconds."""
    stream = sound_of(media)
    rate, layout = stream.rate, stream.layout  # now, since the decoder changes them when the sound does
    block = max(1, rate // 400)
    parts, rest, total = [], np.empty((layout.nb_channels, 0), np.float32), 0
    for samples in decoded(media, stream, ("fltp", layout.name, rate)):
        total += samples.shape[1]
        rest = np.concatenate((rest, samples), axis=1)
        whole = rest.shape[1] // block * block
        parts.append(measured(rest[:, :whole].reshape(layout.nb_channels, -1, block)))
        rest = rest[:, whole:]
    if not total:
        fail(f"the audio stream of {Path(media.name).name} is empty or cannot be decoded")
    if rest.shape[1]:
        parts.append(measured(rest[:, np.newaxis, :]))
    return np.concatenate(parts, axis=1), total / rate


def sound_of(media: InputContainer) -> av.AudioStream:
    """Choose the first audio stream in a known codec."""
    sound = next((stream for stream in media.streams.audio if stream.codec_context), None)
    if sound is None:
        which = " in a known codec" if media.streams.audio else ""
        fail(f"{Path(media.name).name} has no audio stream{which}")
    return sound


def decoded(media: InputContainer, stream: av.AudioStream, form: tuple[str, str, int]) -> Iterator[Levels]:
    """The samples as arrays of channels by time, from -1 to 1, also where the sound changes its form on its way."""
    frames = shown(media.decode(stream), (media.duration or 0) / av.time_base)
    for _, alike in itertools.groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.rate)):
        resampler = av.AudioResampler(*form)
        for frame in itertools.chain(alike, [None]):
            yield from (piece.to_ndarray().astype(np.float32, copy=False) for piece in resampler.resample(frame))


def shown(frames: Iterator[av.AudioFrame], length: float) -> Iterator[av.AudioFrame]:
    """Pass the frames on, and print how far they are, once for every whole percent."""
    printed = -1
    for frame in frames:
        percent = min(100, int(100 * (frame.time or 0) / length)) if length else 0
        if percent > printed:
            printed = percent
            print(f"openjd_progress: {percent}", flush=True)
        yield frame


def measured(blocks: Levels) -> Levels:
    """Peak over all channels, and root mean square, of each block."""
    peak: Levels = np.abs(blocks).max(axis=(0, 2))
    power: Levels = np.sqrt(np.square(blocks).mean(axis=(0, 2)))
    return np.stack((peak, power))


def draw(levels: Levels, seconds: float, size: tuple[int, int], colour: tuple[int, ...]) -> Image.Image:
    """Draw the wave, its loudest peak as high as the room allows but no more than 18 dB up, and the times below it."""
    width, height = size[0] * FINE, size[1] * FINE
    letters = max(10, size[1] // 16) * FINE
    font = ImageFont.load_default(letters)
    wave = height - round(letters * 2.2)
    picture = Image.new("RGBA", (width, height))
    pencil = ImageDraw.Draw(picture)
    centre = wave / 2
    gain = min(8.0, 1 / max(float(levels[0].max()), 1e-6))
    edges = np.linspace(0, levels.shape[1], width + 1).astype(int)
    dark = tuple(int(part * 0.62) for part in colour)
    for x, (start, stop) in enumerate(itertools.pairwise(edges)):
        peak, power = levels[:, start : max(stop, start + 1)].max(axis=1)
        for level, ink in ((peak, (*colour, 255)), (power, (*dark, 255))):
            reach = min(1.0, float(level) * gain) * (centre - 2 * FINE)
            pencil.line((x, centre - reach, x, centre + reach), fill=ink)
    pencil.line((0, centre, width, centre), fill=(*dark, 255), width=FINE)
    scale(pencil, seconds, (width, wave), font)
    return picture.resize(size, Image.Resampling.LANCZOS)


def scale(
    pencil: ImageDraw.ImageDraw,
    seconds: float,
    size: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Draw the time scale below the wave, with about one time every eighth of the width."""
    width, top = size
    step = next((step for step in STEPS if step >= seconds / 10), STEPS[-1] * -(-seconds // (STEPS[-1] * 10)))
    pencil.line((0, top, width, top), fill=GREY, width=FINE)
    for number in range(int(seconds / step) + 1):
        time = number * step
        x = time / seconds * width
        pencil.line((x, top, x, top + 5 * FINE), fill=GREY, width=FINE)
        text = f"{int(time) // 60}:{int(time) % 60:02}" if step >= 1 else f"{time:.1f}"
        room = pencil.textlength(text, font=font)
        pencil.text((min(max(x - room / 2, 0), width - room), top + 8 * FINE), text, font=font, fill=GREY)


def fail(reason: str) -> NoReturn:
    """End with a reason that a person understands; jobd shows it as the cause of the failure."""
    print(f"openjd_fail: {reason}", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
