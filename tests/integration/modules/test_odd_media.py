"""What the modules do with media that is whole and yet unlike most: long pictures, late sound, codecs nobody knows."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

RATE = 48000
OF_SOUND = {
    "extract_audio": ("--video", ["--audio", "o.wav"]),
    "loudness": ("--audio", ["--loudness", "o.json"]),
    "waveform": ("--audio", ["--image", "o.png"]),
    "transcribe": ("--audio", ["--transcript", "o.json", "--subtitles", "o.srt"]),
    "transcode": ("--video", ["--result", "o.mp4", "--preset=ultrafast"]),
}


def film(path: Path, stays: list[float], tones: list[tuple[float, float]] = (), **options: object) -> Path:
    """Write grey pictures that stay so many seconds each, and a tone from one second to another, perhaps several."""
    begin, layout, codec = options.get("begin", 0.0), options.get("layout", "stereo"), options.get("codec", "aac")
    rate, movflags = options.get("rate", RATE), {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    with av.open(path, "w", options=movflags) as output:
        picture = output.add_stream("libx264", rate=25, options={"bf": "0", "tune": "zerolatency"})
        picture.width, picture.height, picture.codec_context.time_base = 64, 48, Fraction(1, 1000)
        voice = output.add_stream(codec, rate=rate, layout=layout) if tones else None
        start = round(begin * 1000)
        for number, stay in enumerate(stays):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 + number % 200, np.uint8), format="rgb24")
            frame.pts, frame.time_base = start, Fraction(1, 1000)
            for packet in picture.encode(frame):
                packet.duration = round(stay * 1000)
                output.mux(packet)
            start += round(stay * 1000)
        for packet in picture.encode(None):
            output.mux(packet)
        for frame in voiced(tones, rate, layout):
            output.mux(voice.encode(frame))
        if voice:
            output.mux(voice.encode(None))
    return path


def voiced(tones: list[tuple[float, float]], rate: int, layout: str):
    """The frames of a tone of 440 Hz that is heard only between the given seconds."""
    channels = len(av.AudioLayout(layout).channels)
    for begin, end in tones:
        for start in range(round(begin * rate), round(end * rate), 960):
            wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(start, start + 960) / rate)
            frame = av.AudioFrame.from_ndarray(np.tile(wave.astype(np.float32), (channels, 1)), "fltp", layout)
            frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            yield frame


def heard(path: Path) -> list[bool]:
    """For each whole second of a mono WAV, whether there is a tone in its middle."""
    with av.open(path) as sound:
        rate = sound.streams.audio[0].rate
        samples = np.concatenate([frame.to_ndarray()[0] for frame in sound.decode(audio=0)])
    middles = [samples[start + rate // 4 : start + 3 * rate // 4] for start in range(0, len(samples) - rate // 2, rate)]
    return [bool(np.abs(middle.astype(int)).max() > 1000) for middle in middles]


def lengths(path: Path) -> list[float]:
    """How long each stream of a file is, by its packets: the end of the last."""
    with av.open(path) as media:
        ends = [0.0 for _ in media.streams]
        for packet in media.demux():
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                ends[packet.stream_index] = max(ends[packet.stream_index], end)
    return ends


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("stays", [[12.0], [4.0, 4.0, 4.0], [0.1, 0.1, 1.8, 10.0]], ids=["still", "slides", "screen"])
def test_last_picture_may_stay_long(run, tmp_path, ending, stays):
    """A video whose last picture stays long is whole, and its pictures stay as long in the transcoded one."""
    clip = film(tmp_path / f"clip.{ending}", stays, [(0, 12)])

    run.ok("transcode", "--video", clip, "--result", tmp_path / "r.mp4", "--preset=ultrafast")
    run.ok("detect_scenes", "--video", clip, "--scenes", tmp_path / "scenes.json")

    assert lengths(tmp_path / "r.mp4") == pytest.approx([12.0, 12.0], abs=0.1)
    assert run.read(tmp_path / "scenes.json")["duration"] == pytest.approx(12.0, abs=0.1)


@pytest.mark.parametrize("module", ["detect_scenes", "transcode"])
def test_short_picture_under_a_long_sound_is_whole(run, tmp_path, module):
    """A container that does not say how long each stream is does not make a short one look cut off."""
    clip = film(tmp_path / "clip.mkv", [0.04], [(0, 8)])

    run.ok(module, "--video", clip, *{"transcode": ["--result", "o.mp4"], "detect_scenes": ["--scenes", "o"]}[module])


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("module", ["detect_scenes", "transcode", "extract_audio"])
def test_cut_off_video_with_a_long_last_picture_fails(run, tmp_path, module, ending):
    """Where such a video really is cut off, that is still found out."""
    clip = film(tmp_path / f"clip.{ending}", [0.04] * 200 + [4.0], [(0, 2), (8, 12)])
    with av.open(clip) as media:
        places = sorted(packet.pos for packet in media.demux() if packet.pos)
    clip.write_bytes(clip.read_bytes()[: places[len(places) // 3]])
    outputs = {
        "transcode": ["--result", "o.mp4"],
        "detect_scenes": ["--scenes", "o"],
        "extract_audio": ["--audio", "o"],
    }

    assert f"clip.{ending} is cut off" in run.failure(module, "--video", clip, *outputs[module])


@pytest.mark.parametrize("module", ["detect_scenes", "contact_sheet", "transcode"])
def test_cover_of_an_album_is_no_video(run, tmp_path, module):
    """A sound with a picture attached to it has no video stream."""
    with av.open(tmp_path / "song.mp3", "w") as output:
        voice, cover = output.add_stream("libmp3lame", rate=RATE, layout="stereo"), output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")
        output.mux(cover.encode(picture.reformat(format="yuvj420p")) + cover.encode(None))
        for frame in voiced([(0, 3)], RATE, "stereo"):
            output.mux(voice.encode(frame))
        output.mux(voice.encode(None))
    outputs = {
        "transcode": ["--result", "o.mp4"],
        "detect_scenes": ["--scenes", "o"],
        "contact_sheet": ["--sheet", "o.png"],
    }

    assert run.failure(module, "--video", tmp_path / "song.mp3", *outputs[module]) == "song.mp3 has no video stream"


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mp4", "aac"), ("c.mkv", "libopus"), ("c.mkv", "pcm_s16le"), ("c.ts", "aac")]
)
def test_extract_audio_keeps_the_time_of_the_video(run, tmp_path, name, codec):
    """Where the sound begins late or has a gap the WAV is silent, and what comes after is heard when it should be."""
    late = film(tmp_path / f"late_{name}", [0.2] * 35, [(4, 7)], codec=codec)
    broken = film(tmp_path / f"broken_{name}", [0.2] * 50, [(0, 2), (7, 10)], codec=codec)

    run.ok("extract_audio", "--video", late, "--audio", tmp_path / "late.wav", "--channels=1")
    run.ok("extract_audio", "--video", broken, "--audio", tmp_path / "broken.wav", "--channels=1")

    assert heard(tmp_path / "late.wav") == [False] * 4 + [True] * 3
    assert heard(tmp_path / "broken.wav") == [True] * 2 + [False] * 5 + [True] * 3


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv", "c.ts"])
def test_extract_audio_adds_nothing_to_a_usual_sound(run, tmp_path, name):
    """A sound that begins with the picture and has no gap comes out as it is, whatever the file's clock begins at."""
    clip = film(tmp_path / name, [0.2] * 10, [(10, 12)], begin=10.0)
    with av.open(clip) as media:
        decoded = np.concatenate([frame.to_ndarray() for frame in media.decode(audio=0)], axis=1)

    run.ok("extract_audio", "--video", clip, "--audio", tmp_path / "a.wav")

    with av.open(tmp_path / "a.wav") as sound:
        samples = np.concatenate([frame.to_ndarray() for frame in sound.decode(audio=0)], axis=1).reshape(-1, 2)
    assert samples.shape == decoded.T.shape
    assert samples / 32768 == pytest.approx(decoded.T, abs=1e-4)


def test_extract_audio_goes_on_where_a_clock_starts_anew(run, tmp_path):
    """Two broadcasts in one file, the second with its clock far from the first one's, are heard one after the other."""
    parts = [film(tmp_path / f"{begin}.ts", [0.2] * 10, [(begin, begin + 2)], begin=begin) for begin in (5000, 10, 200)]
    (tmp_path / "clip.ts").write_bytes(b"".join(part.read_bytes() for part in parts))

    run.ok("extract_audio", "--video", tmp_path / "clip.ts", "--audio", tmp_path / "a.wav", "--channels=1")

    assert heard(tmp_path / "a.wav") == [True] * 6


def test_loudness_counts_from_the_beginning_of_the_sound(run, tmp_path):
    """The timeline has a point a second from the sound's first sample on, also when the sound begins late."""
    clip = film(tmp_path / "clip.mkv", [0.2] * 5, [(10, 13.5)], begin=10.0)

    run.ok("loudness", "--audio", clip, "--loudness", tmp_path / "l.json")

    assert [point["time"] for point in run.read(tmp_path / "l.json")["timeline"]] == [1.0, 2.0, 3.0]


@pytest.fixture
def changing(tmp_path) -> Path:
    """A broadcast whose sound is stereo at first, then 5.1, and at last mono with another rate, two seconds each."""
    parts = [
        film(tmp_path / "1.ts", [0.2] * 10, [(0, 2)]),
        film(tmp_path / "2.ts", [0.2] * 10, [(2.1, 4.1)], begin=2.1, layout="5.1"),
        film(tmp_path / "3.ts", [0.2] * 10, [(4.2, 6.2)], begin=4.2, layout="mono", rate=32000),
    ]
    (tmp_path / "changing.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    return tmp_path / "changing.ts"


@pytest.mark.parametrize("module", OF_SOUND)
def test_sound_may_change_its_form_on_its_way(run, changing, module):
    """A sound that changes its channels and its rate is taken whole."""
    flag, outputs = OF_SOUND[module]

    run.ok(module, flag, changing, *outputs)

    if module == "extract_audio":
        with av.open(run.folder / "o.wav") as sound:
            assert (sound.streams.audio[0].rate, sound.streams.audio[0].channels) == (RATE, 2)
            assert sound.duration / av.time_base == pytest.approx(6.2, abs=0.15)
    if module == "transcode":
        assert lengths(run.folder / "o.mp4") == pytest.approx([6.2, 6.2], abs=0.3)
    if module == "loudness":
        assert len(run.read(run.folder / "o.json")["timeline"]) in {5, 6}


def test_example_module_says_that_the_sound_changes(run, changing):
    """The smallest module does not follow such a sound, and says so."""
    reason = run.failure("example_module", "--input", changing, "--output", "o.mp3")

    assert reason == "the sound of changing.ts changes its form on its way; extract_audio can follow that"


def test_transcode_joins_recordings_that_overlap(run, tmp_path):
    """What comes twice where two recordings were joined is left out; a clock that starts anew is a failure."""
    for number, begin in enumerate((3.0, 4.9, 0.0)):
        film(tmp_path / f"{number}.ts", [0.04] * 50, [(begin, begin + 2)], begin=begin)
    first, second, third = ((tmp_path / f"{number}.ts").read_bytes() for number in range(3))
    (tmp_path / "joined.ts").write_bytes(first + second)
    (tmp_path / "anew.ts").write_bytes(first + third)

    run.ok("transcode", "--video", tmp_path / "joined.ts", "--result", tmp_path / "r.mp4", "--preset=ultrafast")
    reason = run.failure("transcode", "--video", tmp_path / "anew.ts", "--result", tmp_path / "a.mp4")

    assert lengths(tmp_path / "r.mp4") == pytest.approx([6.9, 6.9], abs=0.2)
    assert "the time of anew.ts goes back" in reason


@pytest.mark.parametrize("recorded", [6000, 11127, 37800])
@pytest.mark.parametrize("codec", ["aac", "mp3"])
def test_transcode_takes_sound_of_any_rate(run, tmp_path, recorded, codec):
    """A rate that the encoder has not becomes one that it has."""
    clip = film(tmp_path / "clip.mkv", [0.2] * 5, [(0, 1)], rate=recorded, codec="pcm_s16le")
    options = ("--preset=ultrafast", f"--audio_codec={codec}")

    run.ok("transcode", "--video", clip, "--result", tmp_path / "r.mp4", *options)

    with av.open(tmp_path / "r.mp4") as video:
        assert video.streams.audio[0].rate == RATE


def test_transcode_refuses_a_quality_that_the_codec_has_not(run, tmp_path):
    """A crf beyond the codec's is refused with the reason before any work; a bit rate beyond the encoder's is cut."""
    outputs = ("--result", tmp_path / "r.mp4", "--preset=ultrafast")
    mono = film(tmp_path / "mono.mp4", [0.2] * 5, [(0, 1)], layout="mono")

    for codec in ("h264", "hevc"):
        reason = run.failure("transcode", "--video", tmp_path / "missing", *outputs, f"--codec={codec}", "--crf=52")
        assert reason == f"crf 52 is more than {codec} has; give 0 to 51"
    run.ok("transcode", "--video", mono, *outputs, "--codec=vp9", "--crf=63")
    run.ok("transcode", "--video", mono, *outputs, "--audio_codec=opus", "--audio_bitrate=512")


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [("c.mkv", "libx264rgb", ("rgb24", None)), ("c.mov", "png", ("rgb24", None)), ("c.mp4", "libx264", ("yuv420p", 1))],
)
def test_transcode_keeps_the_colours(run, tmp_path, name, codec, kind):
    """A flat colour looks the same afterwards, be it kept as RGB or as BT.709, and the result says how to read it."""
    colour, (pixels, matrix) = (40, 200, 60), kind
    with av.open(tmp_path / name, "w") as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        if matrix:
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="rgb24")
        output.mux(stream.encode(picture.reformat(format=pixels, dst_colorspace=matrix)) + stream.encode(None))

    run.ok("transcode", "--video", tmp_path / name, "--result", tmp_path / "r.mp4", "--crf=1")

    with av.open(tmp_path / "r.mp4") as video:
        frame = next(video.decode(video=0))
    assert (int(frame.color_range), int(frame.colorspace)) == (1, matrix or 5)
    assert frame.to_ndarray(format="rgb24")[24, 32] == pytest.approx(colour, abs=6)


def test_transcode_makes_pixels_square(run, tmp_path):
    """A picture whose pixels are twice as wide as high becomes twice as wide."""
    with av.open(tmp_path / "wide.mp4", "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.codec_context.sample_aspect_ratio = 64, 48, Fraction(2, 1)
        output.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")) + stream.encode(None))

    run.ok("transcode", "--video", tmp_path / "wide.mp4", "--result", tmp_path / "r.mp4")

    with av.open(tmp_path / "r.mp4") as video:
        assert (video.streams.video[0].width, video.streams.video[0].height) == (128, 48)


def test_contact_sheet_of_a_transport_stream_shows_each_time(run, tmp_path):
    """Stills come from when they say, although a seek in MPEG-TS may lead to behind the key frame."""
    with av.open(tmp_path / "clip.ts", "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"g": "50", "preset": "ultrafast"})
        stream.width, stream.height = 64, 48
        for number in range(500):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number // 2, np.uint8), format="rgb24")
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    sizes = ("--columns=10", "--rows=1", "--width=1000")

    run.ok("contact_sheet", "--video", tmp_path / "clip.ts", "--sheet", tmp_path / "s.png", *sizes)

    with Image.open(tmp_path / "s.png") as sheet:
        greys = [sheet.getpixel((100 * column + 50, 20))[0] for column in range(10)]
    assert greys == pytest.approx([12.5 + 25 * column for column in range(10)], abs=4)


def test_sheet_too_high_for_its_format_fails_with_a_reason(run, tmp_path):
    """A JPEG has at most 65,500 rows; who asks for more is told so."""
    with av.open(tmp_path / "tall.mp4", "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height = 16, 320
        output.mux(stream.encode(av.VideoFrame(16, 320, "yuv420p")) + stream.encode(None))
    sizes = ("--columns=1", "--rows=50", "--width=160")

    reason = run.failure("contact_sheet", "--video", tmp_path / "tall.mp4", "--sheet", tmp_path / "s.jpg", *sizes)

    assert "cannot write s.jpg of 160 x " in reason


@pytest.fixture
def unknown(tmp_path) -> Path:
    """A video with a picture and a sound in codecs that nobody knows."""
    data = film(tmp_path / "known.mp4", [0.2] * 10, [(0, 2)]).read_bytes()
    for old, new in ((b"avc1", b"zzz1"), (b"avcC", b"zvcC"), (b"mp4a", b"zzz2"), (b"esds", b"zsds")):
        data = data[:40] + data[40:].replace(old, new)  # what lies before says only what kind of file it is
    (tmp_path / "unknown.mp4").write_bytes(data)
    return tmp_path / "unknown.mp4"


def test_probe_tells_what_it_knows_of_an_unknown_codec(run, unknown, tmp_path):
    """What the file does not say is null, and the report shows the rest."""
    run.ok("probe", "--video", unknown, "--facts", tmp_path / "facts.json")
    run.ok("report", "--facts", tmp_path / "facts.json", "--page", tmp_path / "page.html")

    picture, sound = run.read(tmp_path / "facts.json")["streams"]
    assert (picture["type"], picture["codec"], picture["width"]) == ("video", None, None)
    assert (sound["type"], sound["codec"], sound["layout"]) == ("audio", None, None)
    assert picture["duration"] == pytest.approx(2.0, abs=0.05)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Unknown codec" in page
    assert "None" not in page


@pytest.mark.parametrize("module", [*OF_SOUND, "detect_scenes", "contact_sheet", "example_module"])
def test_unknown_codec_fails_with_a_reason(run, unknown, module):
    """Who must decode a stream that nobody can decode says so."""
    others = {"detect_scenes": ["--scenes", "o"], "contact_sheet": ["--sheet", "o.png"]}
    flag, outputs = OF_SOUND.get(module) or ("--video", others.get(module))
    if module == "example_module":
        flag, outputs = "--input", ["--output", "o.wav"]

    kind = "video" if module in {"transcode", *others} else "audio"
    assert run.failure(module, flag, unknown, *outputs) == f"unknown.mp4 has no {kind} stream in a known codec"


@pytest.mark.parametrize("module", OF_SOUND)
def test_first_known_sound_is_taken(run, tmp_path, module):
    """A sound that nobody can decode is passed over when there is another."""
    path = tmp_path / "two.mp4"
    with av.open(path, "w") as output:
        picture = output.add_stream("libx264", rate=25)
        picture.width, picture.height = 64, 48
        voices = [output.add_stream("aac", rate=RATE, layout="stereo") for _ in range(2)]
        for _ in range(25):
            output.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")))
        for voice in voices:
            for frame in voiced([(0, 1)], RATE, "stereo"):
                output.mux(voice.encode(frame))
        for encoder in (picture, *voices):
            output.mux(encoder.encode(None))
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"zzz2", 1).replace(b"esds", b"zsds", 1))
    flag, outputs = OF_SOUND[module]

    run.ok(module, flag, path, *outputs)
