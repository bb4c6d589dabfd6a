"""What the modules do with media that is broken or not theirs: they fail with a reason that a person understands."""

import pytest

OF_VIDEO = {
    "example_module": ("--input", ["--output", "o.wav"]),
    "probe": ("--video", ["--facts", "o.json"]),
    "extract_audio": ("--video", ["--audio", "o.wav"]),
    "detect_scenes": ("--video", ["--scenes", "o.json"]),
    "contact_sheet": ("--video", ["--sheet", "o.png"]),
    "transcode": ("--video", ["--result", "o.mp4"]),
}
OF_AUDIO = {
    "loudness": ("--audio", ["--loudness", "o.json"]),
    "waveform": ("--audio", ["--image", "o.png"]),
    "transcribe": ("--audio", ["--transcript", "o.json", "--subtitles", "o.srt"]),
}


@pytest.mark.parametrize("broken", ["garbage.mp4", "truncated.mp4"])
@pytest.mark.parametrize("module", [*OF_VIDEO, *OF_AUDIO])
def test_broken_file_fails_with_a_reason(run, media, module, broken):
    """A file that cannot be read is a failure that names it and says why, not a traceback."""
    flag, outputs = (OF_VIDEO | OF_AUDIO)[module]

    reason = run.failure(module, flag, media / broken, *outputs)

    assert broken in reason
    assert "Invalid data" in reason


@pytest.mark.parametrize("module", ["extract_audio", "detect_scenes", "transcode"])
def test_cut_off_video_fails_with_a_reason(run, media, module):
    """A file that begins well but holds only a part of what it claims is a failure, not a shorter result."""
    flag, outputs = OF_VIDEO[module]

    reason = run.failure(module, flag, media / "cut_off.mp4", *outputs)

    assert "cut_off.mp4 is cut off" in reason or "Invalid data" in reason


@pytest.mark.parametrize("module", ["example_module", "extract_audio", *OF_AUDIO])
def test_video_without_sound_fails_with_a_reason(run, media, module):
    """Who needs sound says that there is none."""
    flag, outputs = (OF_VIDEO | OF_AUDIO)[module]

    assert run.failure(module, flag, media / "mute.mp4", *outputs) == "mute.mp4 has no audio stream"


@pytest.mark.parametrize("module", ["example_module", "extract_audio", *OF_AUDIO])
def test_sound_of_no_length_fails_with_a_reason(run, media, module):
    """A sound without a single sample is a failure, not an empty result."""
    flag, outputs = (OF_VIDEO | OF_AUDIO)[module]

    assert "empty or cannot be decoded" in run.failure(module, flag, media / "empty.wav", *outputs)


@pytest.mark.parametrize("module", ["detect_scenes", "contact_sheet", "transcode"])
def test_sound_without_picture_fails_with_a_reason(run, media, module):
    """Who needs a picture says that there is none."""
    flag, outputs = OF_VIDEO[module]

    assert run.failure(module, flag, media / "tone.wav", *outputs) == "tone.wav has no video stream"


def test_outputs_of_the_wrong_kind_fail_with_a_reason(run, media, tmp_path):
    """An output whose ending no encoder knows, or a codec that its container cannot hold, is explained."""
    clip = media / "clip.mp4"

    assert ".jpg, .png" in run.failure("contact_sheet", "--video", clip, "--sheet", tmp_path / "o.xyz")
    assert "libx264" in run.failure("transcode", "--video", clip, "--result", tmp_path / "o.webm")
    assert ".wav, .flac" in run.failure("example_module", "--input", clip, "--output", tmp_path / "o.xyz")
    assert "mauvish" in run.failure("waveform", "--audio", clip, "--image", tmp_path / "o.png", "--colour=mauvish")
