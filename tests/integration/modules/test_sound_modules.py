"""The modules that listen to a sound."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SPEECH = Path(__file__).parents[4] / "shared" / "media" / "jfk.flac"
CUE = re.compile(r"^\d+\n(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})\n(.+)\n$", re.MULTILINE)


def test_loudness_of_the_reference_tone(run, media, tmp_path):
    """A 997 Hz tone at -23 dBFS in both channels reads -23 LUFS, which is how EBU Tech 3341 checks a meter."""
    run.ok("loudness", "--audio", media / "tone.wav", "--loudness", tmp_path / "l.json")

    found = run.read(tmp_path / "l.json")
    assert found["integrated_lufs"] == pytest.approx(-23.0, abs=0.1)
    assert found["range_lu"] == pytest.approx(0.0, abs=0.1)
    assert found["true_peak_dbtp"] == pytest.approx(-23.0, abs=0.2)
    assert [entry["short_term_lufs"] for entry in found["timeline"]][3:] == pytest.approx([-23.0] * 2, abs=0.1)


def test_loudness_sees_the_peak_between_the_samples(run, media, tmp_path):
    """A tone at a quarter of the sample rate, sampled beside its crests, peaks 3 dB above its highest sample."""
    run.ok("loudness", "--audio", media / "steep.wav", "--loudness", tmp_path / "l.json")

    found = run.read(tmp_path / "l.json")
    assert found["sample_peak_dbfs"] == pytest.approx(-9.0, abs=0.1)
    assert found["true_peak_dbtp"] == pytest.approx(-6.0, abs=0.7)


def test_silence_has_no_loudness(run, media, tmp_path):
    """Silence is not an error; it has no figures."""
    run.ok("loudness", "--audio", media / "silence.wav", "--loudness", tmp_path / "l.json")

    assert run.read(tmp_path / "l.json")["integrated_lufs"] is None


def test_waveform_has_its_size_and_colour(run, media, tmp_path):
    """The picture has the size asked for, the wave's colour in it, and a ground that lets the page through."""
    sizes = ("--width=400", "--height=120", "--colour=#ff8800")
    run.ok("waveform", "--audio", media / "tone.wav", "--image", tmp_path / "w.png", *sizes)

    with Image.open(tmp_path / "w.png") as image:
        assert (image.size, image.mode) == ((400, 120), "RGBA")
        pixels = np.asarray(image)
    assert (pixels[..., :3][pixels[..., 3] == 255] == (255, 136, 0)).all(axis=1).any()
    assert pixels[0, 0, 3] == 0


@pytest.mark.skipif(not SPEECH.exists(), reason="the recorded speech is not beside this checkout")
def test_transcribe_hears_words(run, tmp_path):
    """Recorded speech gives recognisable words, with rising times inside the recording, in JSON and as subtitles."""
    outputs = ("--transcript", tmp_path / "t.json", "--subtitles", tmp_path / "t.srt")
    output = run.ok("transcribe", "--audio", SPEECH, *outputs)

    found = run.read(tmp_path / "t.json")
    words = [word for segment in found["segments"] for word in segment["words"]]
    starts = [word["start"] for word in words]
    assert {"country", "you", "what", "fellow"} <= set(found["text"].split())
    assert starts == sorted(starts)
    assert all(0 <= word["start"] < word["end"] <= 11.1 and 0 <= word["confidence"] <= 1 for word in words)
    cues = CUE.findall((tmp_path / "t.srt").read_text())
    assert " ".join(text for *_, text in cues) == found["text"]
    assert all(start < end for start, end, _ in cues)
    assert run.progress(output)[-1] > 80


def test_transcribe_finds_nothing_in_silence(run, media, tmp_path):
    """A sound without speech gives no segments and subtitles without a cue, and is no failure."""
    outputs = ("--transcript", tmp_path / "t.json", "--subtitles", tmp_path / "t.srt")
    run.ok("transcribe", "--audio", media / "silence.wav", *outputs)

    assert run.read(tmp_path / "t.json")["segments"] == []
    assert (tmp_path / "t.srt").read_text() == ""


WHISPER = '''
"""Stands in for the package: answers as it does, with one segment."""
from types import SimpleNamespace as Answer
class WhisperModel:
    def __init__(self, model, *, local_files_only): assert local_files_only
    def transcribe(self, audio, *, word_timestamps, vad_filter):
        words = [Answer(word=" Hello", start=0.5, end=0.9, probability=0.98)]
        words += [Answer(word=" world.", start=1.0, end=1.5, probability=0.9)]
        return iter([Answer(start=0.5, end=1.5, text=" Hello world.", words=words)]), Answer(duration=6.0)
'''


def test_transcribe_with_a_whisper_model(run, media, tmp_path):
    """With a model folder the words come from faster-whisper, in the same form."""
    (tmp_path / "faster_whisper.py").write_text(WHISPER)
    (tmp_path / "model").mkdir()
    outputs = ("--transcript", tmp_path / "t.json", "--subtitles", tmp_path / "t.srt", f"--model={tmp_path / 'model'}")

    done = run("transcribe", "--audio", media / "tone.wav", *outputs, env={"PYTHONPATH": str(tmp_path)})

    assert done.returncode == 0, done.stdout + done.stderr
    assert run.read(tmp_path / "t.json")["text"] == "Hello world."
    assert (tmp_path / "t.srt").read_text() == "1\n00:00:00,500 --> 00:00:01,500\nHello world.\n\n"


def test_transcribe_says_that_whisper_is_missing(run, media, tmp_path):
    """A model without the package that runs it is a failure that says what to install."""
    (tmp_path / "faster_whisper.py").write_text("raise ImportError")
    outputs = ("--transcript", tmp_path / "t.json", "--subtitles", tmp_path / "t.srt", f"--model={tmp_path}")

    done = run("transcribe", "--audio", media / "tone.wav", *outputs, env={"PYTHONPATH": str(tmp_path)})

    assert done.returncode == 1
    assert "pip install faster-whisper" in done.stdout
