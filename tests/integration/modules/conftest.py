"""Media that is made here, and a runner that runs modules as jobd does: as programs, in a scratch folder."""

import json
import re
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
RATE, SAMPLE_RATE = 25, 48000


class Run:
    """Runs modules as programs, in a scratch folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, module: str, *arguments: object, env: dict[str, str] | None = None):
        script = ROOT / "modules" / module / "main.py"
        command = [sys.executable, script, *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=120, check=False
        )

    def ok(self, module: str, *arguments: object) -> str:
        """Run a module that must succeed; its output."""
        done = self(module, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def failure(self, module: str, *arguments: object) -> str:
        """Run a module that must fail as its contract says; the reason."""
        done = self(module, *arguments)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return re.search(r"^openjd_fail: (.+)$", done.stdout, re.MULTILINE)[1]

    @staticmethod
    def read(path: Path) -> dict:
        """What a module wrote as JSON."""
        return json.loads(path.read_text(encoding="utf-8"))

    @staticmethod
    def progress(output: str) -> list[float]:
        """The percentages that a module reported."""
        return [float(percent) for percent in re.findall(r"^openjd_progress: ([\d.]+)$", output, re.MULTILINE)]


@pytest.fixture
def run(tmp_path) -> Run:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Run(scratch)


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Path:
    """A folder with a clip of three scenes and a tone, and with everything that can be wrong with one."""
    folder = tmp_path_factory.mktemp("media")
    time = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    tone = np.tile(10 ** (-23 / 20) * np.sin(2 * np.pi * 997 * time), (2, 1)).astype(np.float32)
    write(folder / "clip.mp4", pictures(), tone)
    write(folder / "mute.mp4", pictures(), None)
    write(folder / "tone.wav", [], tone)
    between = 0.5 * np.sin(np.pi / 2 * np.arange(3 * SAMPLE_RATE) + np.pi / 4)  # no sample meets a crest
    write(folder / "steep.wav", [], np.tile(between, (2, 1)).astype(np.float32))
    write(folder / "silence.wav", [], np.zeros_like(tone))
    write(folder / "empty.wav", [], tone[:, :0])
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    write(folder / "streamable.mp4", pictures(), tone, movflags="+faststart")
    whole = (folder / "streamable.mp4").read_bytes()
    (folder / "cut_off.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "garbage.mp4").write_bytes(np.random.default_rng(1).bytes(20_000))
    return folder


def pictures() -> list[np.ndarray]:
    """Six seconds of dark red, bright green and blue, with something that moves; red lies at the left throughout."""
    frames = []
    for number in range(6 * RATE):
        frame = np.zeros((180, 320, 3), np.uint8)
        frame[:] = ((90, 20, 20), (120, 230, 120), (20, 40, 200))[number // (2 * RATE)]
        frame[:, :40] = (255, 0, 0)
        frame[80:100, 60 + number : 90 + number] = 255
        frames.append(frame)
    return frames


def write(path: Path, frames: list[np.ndarray], sound: np.ndarray | None, **options: str) -> None:
    """Encode a file with PyAV: H.264 and AAC in an .mp4, PCM in a .wav."""
    with av.open(path, "w", options=options) as output:
        picture = voice = None
        if frames:
            picture = output.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
            picture.height, picture.width = frames[0].shape[:2]
        if sound is not None:
            voice = output.add_stream("aac" if frames else "pcm_s16le", rate=SAMPLE_RATE, layout="stereo")
            voice.bit_rate = 192_000
        output.start_encoding()
        for frame in frames:
            output.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if sound is not None and sound.size:
            samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout="stereo")
            samples.sample_rate, samples.pts, samples.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
            output.mux(voice.encode(samples))
        for encoder in filter(None, (picture, voice)):
            output.mux(encoder.encode(None))


@pytest.fixture
def turned(media, tmp_path) -> Path:
    """The clip as a telephone held upright writes it: to be shown turned by 90 degrees clockwise."""
    data = bytearray((media / "clip.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    return tmp_path / "turned.mp4"
