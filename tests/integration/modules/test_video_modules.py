"""The modules that look at a video."""

import av
import pytest
from PIL import Image

RATE, CUTS = 25, (2.0, 4.0)  # of the clip


def test_example_module_takes_the_sound_out(run, media, tmp_path):
    """The example writes the whole sound in the format that the output's ending names."""
    for name, codec in (("audio.wav", "pcm_s16le"), ("audio.flac", "flac")):
        run.ok("example_module", "--input", media / "clip.mp4", "--output", tmp_path / name)
        with av.open(tmp_path / name) as sound:
            assert sound.streams.audio[0].codec_context.codec.canonical_name == codec
            assert sound.duration / av.time_base == pytest.approx(6.0, abs=0.05)


def test_probe_tells_what_the_file_holds(run, media, tmp_path):
    """Container, sizes, rates and durations are those that the clip was made with."""
    run.ok("probe", "--video", media / "clip.mp4", "--facts", tmp_path / "facts.json")

    facts = run.read(tmp_path / "facts.json")
    picture, sound = facts["streams"]
    assert facts["duration"] == pytest.approx(6.0, abs=0.05)
    assert facts["size"] == (media / "clip.mp4").stat().st_size
    assert "mp4" in facts["container"]["format"]
    shape = ("video", "h264", 320, 180, 25.0)
    assert shape == tuple(picture[key] for key in ("type", "codec", "width", "height", "frame_rate"))
    voice = ("audio", "aac", 48000, 2, "stereo")
    assert voice == tuple(sound[key] for key in ("type", "codec", "sample_rate", "channels", "layout"))


@pytest.mark.parametrize(
    ("options", "shape"),
    [((), ("pcm_s16le", 48000, 2)), (("--sample_rate=16000", "--channels=1"), ("pcm_s16le", 16000, 1))],
)
def test_extract_audio_writes_wav_as_asked(run, media, tmp_path, options, shape):
    """The WAV has 16-bit PCM in the rate and channels asked for, or else those of the video; progress is reported."""
    output = run.ok("extract_audio", "--video", media / "clip.mp4", "--audio", tmp_path / "a.wav", *options)

    with av.open(tmp_path / "a.wav") as sound:
        stream = sound.streams.audio[0]
        assert shape == (stream.codec_context.name, stream.rate, stream.channels)
        assert sound.duration / av.time_base == pytest.approx(6.0, abs=0.05)
    assert run.progress(output)[-1] > 90


def test_detect_scenes_finds_the_cuts(run, media, tmp_path):
    """The cuts lie within two frames of where they were made, and the scenes cover the clip without gaps."""
    run.ok("detect_scenes", "--video", media / "clip.mp4", "--scenes", tmp_path / "scenes.json", "--threshold=10")

    found = run.read(tmp_path / "scenes.json")
    scenes = found["scenes"]
    assert [cut["time"] for cut in found["cuts"]] == pytest.approx(CUTS, abs=2 / RATE)
    assert [scene["start"] for scene in scenes] == pytest.approx((0.0, *CUTS), abs=2 / RATE)
    assert [scene["end"] for scene in scenes[:-1]] == [scene["start"] for scene in scenes[1:]]
    assert scenes[-1]["end"] == pytest.approx(6.0, abs=0.01)


def test_detect_scenes_obeys_its_threshold(run, media, tmp_path):
    """With a threshold that nothing reaches the clip is one scene."""
    run.ok("detect_scenes", "--video", media / "clip.mp4", "--scenes", tmp_path / "scenes.json", "--threshold=100")

    assert len(run.read(tmp_path / "scenes.json")["scenes"]) == 1


@pytest.mark.parametrize("name", ["sheet.png", "sheet.jpg"])
def test_contact_sheet_shows_the_scenes_in_order(run, media, tmp_path, name):
    """The grid has the size asked for, and a still from each third of the clip has that scene's colour."""
    sizes = ("--columns=3", "--rows=1", "--width=960")
    run.ok("contact_sheet", "--video", media / "clip.mp4", "--sheet", tmp_path / name, *sizes)

    with Image.open(tmp_path / name) as sheet:
        assert sheet.width == 960
        assert sheet.height == pytest.approx(960 / 3 * 180 / 320, abs=12)
        for column, colour in enumerate(((90, 20, 20), (120, 230, 120), (20, 40, 200))):
            assert sheet.convert("RGB").getpixel((320 * column + 250, 20)) == pytest.approx(colour, abs=14)


def test_turned_video_is_set_upright(run, turned, tmp_path):
    """Stills and transcoded pictures of a turned video stand upright: what was left is on top."""
    run.ok("contact_sheet", "--video", turned, "--sheet", tmp_path / "s.png", "--columns=1", "--rows=1", "--width=184")
    run.ok("transcode", "--video", turned, "--result", tmp_path / "r.mp4", "--preset=ultrafast")

    with av.open(tmp_path / "r.mp4") as video:
        frame = next(video.decode(video=0))
        assert (frame.width, frame.height) == (180, 320)
        assert frame.to_ndarray(format="rgb24")[10, 90] == pytest.approx((255, 0, 0), abs=20)
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.height > sheet.width
        assert sheet.getpixel((92, 20)) == pytest.approx((255, 0, 0), abs=20)


@pytest.mark.parametrize(
    ("name", "options", "made"),
    [
        ("r.mp4", ("--width=160",), ["h264", "aac", 160, 90]),
        ("r.mkv", ("--codec=hevc", "--width=200", "--height=200"), ["hevc", "aac", 200, 112]),
        ("r.webm", ("--codec=vp9", "--height=90"), ["vp9", "opus", 160, 90]),
        ("r.mp4", ("--codec=av1", "--audio_codec=none", "--crf=50"), ["av1", 320, 180]),
    ],
)
def test_transcode_encodes_as_asked(run, media, name, options, made):
    """The result has the codecs and size asked for, the proportions and the length of the source."""
    run.ok("transcode", "--video", media / "clip.mp4", "--result", run.folder / name, "--preset=ultrafast", *options)

    with av.open(run.folder / name) as video:
        codecs = [stream.codec_context.codec.canonical_name for stream in video.streams]
        assert [*codecs, video.streams.video[0].width, video.streams.video[0].height] == made
        assert video.duration / av.time_base == pytest.approx(6.0, abs=0.1)
        assert sum(1 for _ in video.decode(video=0)) == 6 * RATE
