"""Makes a sample video for those who have none: a day in five scenes, with hard cuts and a chord for each."""

import argparse
import math
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, RATE, SAMPLE_RATE = 640, 360, 25, 48000
Plane = npt.NDArray[np.float32]
Scene = Callable[[float], Plane]

Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
U, V = (X - WIDTH / 2) / HEIGHT, (Y - HEIGHT / 2) / HEIGHT  # from the middle, in heights of the picture
DOWN = Y[:, 0] / HEIGHT  # from the top, 0 to 1


def main() -> None:
    """Write the sample to the path on the command line, an MP4 of H.264 and AAC."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("target", type=Path, help="the file to write, for instance sample.mp4")
    options = parser.parse_args()
    options.target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(options.target, "w", format="mp4") as output:
        write(output)
    print(f"wrote {options.target} ({options.target.stat().st_size // 1024} KiB)", file=sys.stderr)


def write(output: av.container.OutputContainer) -> None:
    """Encode picture and sound scene by scene, so that the two lie side by side in the file."""
    picture = output.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "23"})
    picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    sound = output.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
    played = 0
    for scene, seconds, notes, level in PROGRAMME:
        for number in range(round(seconds * RATE)):
            image = (scene(number / RATE) * 255).astype(np.uint8)
            output.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(chord(notes, seconds, level), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, played, Fraction(1, SAMPLE_RATE)
        played += frame.samples
        output.mux(sound.encode(frame))
    output.mux(picture.encode(None))
    output.mux(sound.encode(None))


def chord(notes: tuple[float, ...], seconds: float, level: float) -> Plane:
    """Plucked notes (in Hz) that come in one after another and circle from left to right; `level` in dBFS."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    both = np.zeros((2, time.size))
    for number, note in enumerate(notes * 2):
        since = time - number * seconds / (2 * len(notes))
        pluck = np.where(since > 0, np.exp(-2.2 * since) * np.minimum(1, since * 80), 0)
        tone = sum(np.sin(2 * np.pi * note * part * since) / part**2 for part in (1, 2, 3, 5)) * pluck
        side = 0.5 + 0.4 * np.sin(number * 1.7)
        both += np.stack((tone * (1 - side), tone * side))
    both *= np.minimum(1, (seconds - time) * 20)  # no click at the cut
    return np.ascontiguousarray(both * 10 ** (level / 20) / np.abs(both).max(), dtype=np.float32)


def colour(code: int) -> Plane:
    """An #rrggbb number as red, green and blue from 0 to 1."""
    return np.array([code >> 16, code >> 8 & 255, code & 255], np.float32) / np.float32(255)


def sky(*codes: int) -> Plane:
    """A gradient from top to bottom through the colours."""
    stops = np.linspace(0, 1, len(codes))
    parts = np.array([colour(code) for code in codes]).T
    rows = np.stack([np.interp(DOWN, stops, part) for part in parts], axis=-1).astype(np.float32)
    return np.repeat(rows[:, None, :], WIDTH, axis=1)


def paint(image: Plane, mask: Plane, code: int) -> Plane:
    """Lay a colour over the image, in place, where the mask is 1 or more, partly where it is between 0 and 1."""
    rows = np.flatnonzero(mask.max(axis=1) > 0.002)
    if rows.size:
        band = slice(rows[0], rows[-1] + 1)  # most shapes are small, so this is most of the speed
        image[band] += (colour(code) - image[band]) * np.clip(mask[band], 0, 1)[..., None]
    return image


def disc(x: float, y: float, radius: float) -> Plane:
    """A mask of a disc with a smooth edge; places in heights of the picture from its middle."""
    mask: Plane = (radius - np.hypot(U - x, V - y)) * HEIGHT + 0.5
    return mask


def ridge(height: float, rough: float, shift: float) -> Plane:
    """A mask of what lies below a hilly line at `height`, moved sideways by `shift`."""
    line = sum(np.sin((U + shift) * rough * factor + factor) / factor for factor in (1.0, 2.3, 5.1))
    mask: Plane = (V - height + 0.06 * line) * HEIGHT + 0.5
    return mask


def dawn(time: float) -> Plane:
    """The sun comes up behind three rows of hills."""
    image = sky(0x2B3A67, 0x8E6C8A, 0xF2A65A, 0xFFD97D)
    height = 0.28 - 0.09 * time
    image = paint(image, 0.55 * np.exp(-6 * np.hypot(U + 0.2, V - height)), 0xFFF3B0)
    image = paint(image, disc(-0.2, height, 0.11), 0xFFF7D6)
    for level, rough, speed, code in ((0.16, 3, 0.02, 0xA5668B), (0.26, 4, 0.05, 0x69306D), (0.38, 5, 0.1, 0x2E1A47)):
        image = paint(image, ridge(level, rough, speed * time), code)
    return image


def sea(time: float) -> Plane:
    """Waves roll in on a bright morning, and a sail goes by."""
    image = sky(0x4FB0C6, 0xA8DADC, 0xE8F7F2)
    x = -0.6 + 0.25 * time
    hull = np.minimum((V - 0.03) * 3, 0.07 - np.abs(U - x) * 0.6 + (V - 0.03) * -0.5) * HEIGHT
    sail = np.minimum(U - x + 0.005, (V + 0.28) * 0.55 - (U - x)) * HEIGHT * ((V < 0.02) & (V > -0.28))
    image = paint(paint(image, sail, 0xFFFFFF), hull * (V < 0.09), 0xC8553D)
    for row, code in enumerate((0x3D9BB8, 0x2A7F9E, 0x1B6583, 0x0F4C68)):
        crest = 0.06 + 0.11 * row + 0.018 * np.sin(U * (16 - 2 * row) + time * (1.5 + row) * (-1) ** row)
        image = paint(image, (V - crest) * HEIGHT + 0.5, code)
    return image


def city(time: float) -> Plane:
    """Balloons rise over a warm afternoon."""
    image = sky(0xF7B267, 0xF79D65, 0xF4845F)
    image = paint(image, ridge(0.4, 2, 0.03 * time), 0x7A3B46)
    for number, code in enumerate((0xD7263D, 0x1B998B, 0x2E294E, 0xF7F4EA, 0x3F88C5)):
        x = -0.7 + 0.35 * number + 0.03 * math.sin(time * 1.3 + number)
        y = 0.2 - 0.11 * time - 0.12 * (number * 2 % 5) + 0.16 * (number % 2)
        ball = disc(x, y, 0.105)
        image = paint(image, ball, code)
        image = paint(image, np.minimum(ball, 1) * (np.cos((U - x) * 60) > 0.2) * 0.6, 0xFFFFFF)
        basket = (0.022 - np.maximum(np.abs(U - x), np.abs(V - y - 0.155))) * HEIGHT
        ropes = (
            (0.004 - np.abs(np.abs(U - x) - 0.05 + (V - y - 0.09) * 0.6)) * HEIGHT * ((y + 0.09 < V) & (y + 0.14 > V))
        )
        image = paint(image, np.maximum(ropes, basket), 0x4A2C2A)
    return image


def rings(time: float) -> Plane:
    """Rain on a pond at dusk."""
    image = sky(0x355070, 0x6D597A, 0xB56576)
    for number, (x, y) in enumerate(((-0.5, -0.2), (0.3, 0.1), (-0.1, 0.3), (0.6, -0.3), (-0.7, 0.25), (0.1, -0.15))):
        age = (time * 0.8 + number * 0.37) % 2
        near = np.hypot(U - x, (V - y) * 1.6) - 0.28 * age
        image = paint(image, np.exp(-((near * 45) ** 2)) * max(0.0, 1 - age / 1.8), 0xEAAC8B)
        image = paint(image, np.exp(-(((near + 0.06) * 60) ** 2)) * max(0.0, 0.7 - age / 2), 0xFFE8D6)
    return image


def night(time: float) -> Plane:
    """The moon crosses a sky of stars that twinkle."""
    image = sky(0x05071A, 0x0B1437, 0x1D2A5B, 0x3A4A85)
    places = np.random.default_rng(7).uniform(-1, 1, (90, 3))
    glow = np.zeros((HEIGHT, WIDTH), np.float32)
    for x, y, phase in places:
        column, row = int((x + 1) / 2 * (WIDTH - 3)), int((y + 1) / 2 * (HEIGHT * 0.75))
        glow[row : row + 2, column : column + 2] = 0.55 + 0.45 * np.sin(time * 3 + phase * 9)
    image = paint(image, glow, 0xFFFFFF)
    x, y = -0.45 + 0.2 * time, -0.18 - 0.02 * time
    image = paint(image, 0.4 * np.exp(-7 * np.hypot(U - x, V - y)), 0xC9D6FF)
    image = paint(image, np.minimum(disc(x, y, 0.12), -disc(x + 0.06, y - 0.03, 0.11)), 0xFDF6E3)
    for level, rough, speed, code in ((0.3, 4, 0.03, 0x141B3C), (0.4, 6, 0.07, 0x0A0E24)):
        image = paint(image, ridge(level, rough, speed * time), code)
    return image


# What is shown, for how many seconds, the notes that sound with it in Hz, and how loud they are in dBFS.
PROGRAMME: tuple[tuple[Scene, float, tuple[float, ...], float], ...] = (
    (dawn, 3.0, (196.0, 246.9, 293.7, 370.0), -18.0),
    (sea, 3.2, (220.0, 277.2, 329.6, 440.0), -9.0),
    (city, 2.6, (246.9, 311.1, 370.0, 493.9), -3.0),
    (rings, 2.6, (164.8, 196.0, 246.9, 329.6), -12.0),
    (night, 3.0, (130.8, 196.0, 246.9, 293.7), -22.0),
)

if __name__ == "__main__":
    main()
