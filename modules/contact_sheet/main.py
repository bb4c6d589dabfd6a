"""Makes one image of stills taken evenly from a video, each with its time."""

import argparse
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
from av.container import InputContainer
from av.stream import Disposition
from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (17, 18, 22)


def main() -> None:
    """Write a grid of stills of `--video` to `--sheet`, a JPEG or PNG by its ending."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--video", type=Path, required=True, help="the video")
    parser.add_argument("--sheet", type=Path, required=True, help="the image to write")
    parser.add_argument("--columns", type=int, default=4, help="stills beside each other (default: 4)")
    parser.add_argument("--rows", type=int, default=3, help="rows of stills (default: 3)")
    parser.add_argument("--width", type=int, default=1600, help="width of the image in pixels (default: 1600)")
    options = parser.parse_args()
    try:
        with av.open(options.video) as media:
            stills = take_stills(media, options.columns * options.rows)
    except av.FFmpegError as error:
        fail(f"cannot take stills from {options.video.name}: {error.strerror}")
    if not stills:
        fail(f"{options.video.name} holds no picture that can be decoded")
    sheet = arrange(stills, options.columns, options.width)
    try:
        sheet.save(options.sheet, quality=90)
    except ValueError as error:
        fail(f"cannot write {options.sheet.name}: {error}; end its name in .jpg, .png or .webp")
    except OSError as error:
        hint = ".png holds larger ones than .jpg and .webp"
        fail(f"cannot write {options.sheet.name} of {sheet.width} x {sheet.height} pixels: {error}; {hint}")


def take_stills(media: InputContainer, count: int) -> list[tuple[float, Image.Image]]:
    """Pictures from the middles of `count` equal parts of the video, with their times in seconds."""
    stream = picture_of(media)
    stream.thread_type = "AUTO"
    tick = stream.time_base or Fraction(1, av.time_base)
    begin = float((stream.start_time or 0) * tick)
    length = float(stream.duration * tick) if stream.duration else (media.duration or 0) / av.time_base
    stills = []
    for number in range(count):
        time = (number + 0.5) / count * length
        frame = frame_at(media, stream, begin + time)
        if frame is not None:
            stills.append(((frame.time or 0.0) - begin, upright(frame, stream)))
        print(f"openjd_progress: {100 * (number + 1) // count}", flush=True)
    return stills


def picture_of(media: InputContainer) -> av.VideoStream:
    """Choose the first video stream in a known codec; the cover of an album is none."""
    moving = [stream for stream in media.streams.video if not stream.disposition & Disposition.attached_pic]
    picture = next((stream for stream in moving if stream.codec_context), None)
    if picture is None:
        which = " in a known codec" if moving else ""
        fail(f"{Path(media.name).name} has no video stream{which}")
    return picture


def frame_at(media: InputContainer, stream: av.VideoStream, time: float) -> av.VideoFrame | None:
    """Give the picture that is on the screen at `time`, or the last one before the video ends."""
    # MPEG-TS has no index: a seek may lead to behind the key frame, and the decoder then waits for the next one.
    for start in (time, time - 5, time - 15, 0.0):
        media.seek(max(0, int(start / (stream.time_base or Fraction(1, av.time_base)))), stream=stream)
        shown = None
        for frame in media.decode(stream):
            if shown is not None and (frame.time or 0.0) > time:
                break
            shown = frame
        if shown is not None and (shown.time or 0.0) <= time:
            break
    return shown


def upright(frame: av.VideoFrame, stream: av.VideoStream) -> Image.Image:
    """Give the picture as a player shows it: with square pixels, and turned as the camera asked."""
    width = round(frame.width * float(stream.sample_aspect_ratio or 1))
    rgb = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
    return Image.fromarray(rgb).rotate(frame.rotation if frame.rotation % 90 == 0 else 0, expand=True)


def arrange(stills: list[tuple[float, Image.Image]], columns: int, width: int) -> Image.Image:
    """Lay the stills out row by row, all in cells of the first one's shape."""
    gap = max(2, width // 200)
    cell_width = max(1, (width - gap * (columns + 1)) // columns)
    first = stills[0][1]
    cell_height = max(1, round(cell_width * first.height / first.width))
    rows = -(-len(stills) // columns)
    sheet = Image.new("RGB", (width, rows * (cell_height + gap) + gap), BACKGROUND)
    for number, (time, still) in enumerate(stills):
        row, column = divmod(number, columns)
        picture = still.resize((cell_width, cell_height), Image.Resampling.LANCZOS)
        stamp(picture, time)
        sheet.paste(picture, (gap + column * (cell_width + gap), gap + row * (cell_height + gap)))
    return sheet


def stamp(picture: Image.Image, time: float) -> None:
    """Write the time into the lower left corner, on a dark plate so that it can be read on any picture."""
    size = max(9, picture.width // 18)
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default(size)
    hours, minutes = divmod(int(time) // 60, 60)
    text = f"{hours}:{minutes:02}:{time % 60:04.1f}" if hours else f"{minutes}:{time % 60:04.1f}"
    left, top, right, bottom = draw.textbbox((size * 0.9, picture.height - size * 0.9), text, font=font, anchor="lb")
    pad = size * 0.35
    draw.rounded_rectangle((left - pad, top - pad, right + pad, bottom + pad), radius=pad, fill=(0, 0, 0, 150))
    draw.text((size * 0.9, picture.height - size * 0.9), text, font=font, anchor="lb", fill=(255, 255, 255))


def fail(reason: str) -> NoReturn:
    """End with a reason that a person understands; jobd shows it as the cause of the failure."""
    print(f"openjd_fail: {reason}", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
