"""Writes down speech with times: PocketSphinx and its English model, or faster-whisper with a local model."""

import argparse
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import av
import pocketsphinx  # type: ignore[import-untyped]
from av.container import InputContainer

RATE = 16000  # samples a second, what the recognisers were trained on
LONGEST = (
    25.0  # seconds: speech without a pause is cut here, since the recogniser's effort grows faster than the length
)
CUE_SECONDS, CUE_LETTERS = 6.0, 80  # what a person can read at a time


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its start and end in seconds and the recogniser's confidence from 0 to 1."""

    word: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said between two pauses; start and end in seconds."""

    start: float
    end: float
    text: str
    words: list[Word]


def main() -> None:
    """Write what is said in `--audio` to `--transcript` (JSON) and `--subtitles` (SRT); silence gives empty ones."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--audio", type=Path, required=True, help="the sound")
    parser.add_argument("--transcript", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--subtitles", type=Path, required=True, help="the SRT file to write")
    parser.add_argument("--model", default="", help="folder of a faster-whisper model (default: PocketSphinx)")
    parser.add_argument("--min_confidence", type=float, default=0.4, help="leave out what is less sure (default: 0.4)")
    options = parser.parse_args()
    try:
        progress = Progress(check(options.audio))
        if options.model:
            segments = list(hear_with_whisper(options.audio, Path(options.model), progress))
        else:
            segments = list(hear(options.audio, options.min_confidence, progress))
    except av.FFmpegError as error:
        fail(f"cannot read the sound of {options.audio.name}: {error.strerror}")
    transcript = {
        "file": options.audio.name,
        "engine": "faster-whisper" if options.model else "pocketsphinx",
        "text": " ".join(segment.text for segment in segments),
        "segments": [asdict(segment) for segment in segments],
    }
    options.transcript.write_text(json.dumps(transcript, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    options.subtitles.write_text(srt(segments), encoding="utf-8")


def check(path: Path) -> float:
    """Make sure that there is a sound; its length in seconds, 0 when the file does not say."""
    with av.open(path) as media:
        if next(media.decode(sound_of(media)), None) is None:
            fail(f"the audio stream of {path.name} is empty or cannot be decoded")
        return (media.duration or 0) / av.time_base


def sound_of(media: InputContainer) -> av.AudioStream:
    """Choose the first audio stream in a known codec."""
    sound = next((stream for stream in media.streams.audio if stream.codec_context), None)
    if sound is None:
        which = " in a known codec" if media.streams.audio else ""
        fail(f"{Path(media.name).name} has no audio stream{which}")
    return sound


def hear(path: Path, least: float, progress: "Progress") -> Iterator[Segment]:
    """Recognise with PocketSphinx, one stretch of speech after another; stretches it is unsure of are left out."""
    print("openjd_status: loading the model", flush=True)
    decoder = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")
    print("openjd_status: listening", flush=True)
    for start, pcm in stretches(path):
        progress.at(start)
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        progress.at(start + len(pcm) / 2 / RATE)
        words = [
            Word(
                word=re.sub(r"\(\d+\)$", "", item.word),  # "and(2)" is the second way to pronounce "and"
                start=round(start + item.start_frame / 100, 2),
                end=round(start + (item.end_frame + 1) / 100, 2),
                confidence=round(min(1.0, item.prob), 3),
            )
            for item in decoder.seg()
            if item.word[0] not in "<["  # silence and noise
        ]
        if words and sum(word.confidence for word in words) / len(words) >= least:
            yield Segment(words[0].start, words[-1].end, " ".join(word.word for word in words), words)


def stretches(path: Path) -> Iterator[tuple[float, bytes]]:
    """Find the speech by voice activity: the start of each stretch in seconds, and its samples."""
    ears = pocketsphinx.Endpointer(sample_rate=RATE)
    start, speech = 0.0, bytearray()
    for piece in pieces(path, ears.frame_bytes):
        speaking = ears.in_speech
        heard = ears.process(piece)
        if heard is None:
            continue
        start = start if speaking else ears.speech_start
        speech += heard
        seconds = len(speech) / 2 / RATE
        if not ears.in_speech or seconds >= LONGEST:
            yield start, bytes(speech)
            start, speech = start + seconds, bytearray()


def pieces(path: Path, size: int) -> Iterator[bytes]:
    """The sound as 16-bit mono in equal pieces, with a second of silence at the end that lets the last word end."""
    waiting = bytearray()
    with av.open(path) as media:
        for resampled in steady(media.decode(sound_of(media))):
            waiting += resampled.to_ndarray().tobytes()
            while len(waiting) >= size:
                yield bytes(waiting[:size])
                del waiting[:size]
    waiting += bytes(2 * RATE)
    for begin in range(0, len(waiting) - size, size):
        yield bytes(waiting[begin : begin + size])


def steady(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """The sound as 16-bit mono; that of a broadcast may change between stereo and 5.1 on its way."""
    for _, alike in itertools.groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.rate)):
        resampler = av.AudioResampler("s16", "mono", RATE)
        for frame in itertools.chain(alike, [None]):
            yield from resampler.resample(frame)


def hear_with_whisper(path: Path, model: Path, progress: "Progress") -> Iterator[Segment]:
    """Recognise with faster-whisper; nothing is ever downloaded."""
    try:
        from faster_whisper import WhisperModel  # type: ignore[import-not-found]  # noqa: PLC0415 - need not be installed
    except ImportError:
        fail("the parameter model asks for faster-whisper, which is not installed: pip install faster-whisper")
    if not model.is_dir():
        fail(f"the model {model} is not a folder on this machine")
    print("openjd_status: loading the model", flush=True)
    segments, _ = WhisperModel(str(model), local_files_only=True).transcribe(
        str(path), word_timestamps=True, vad_filter=True
    )
    print("openjd_status: listening", flush=True)
    for found in segments:
        progress.at(found.end)
        words = [
            Word(item.word.strip(), round(item.start, 2), round(item.end, 2), round(item.probability, 3))
            for item in found.words or ()
        ]
        yield Segment(round(found.start, 2), round(found.end, 2), found.text.strip(), words)


def srt(segments: list[Segment]) -> str:
    """Give the words as SubRip cues, short enough to be read."""
    cues = [cue for segment in segments for cue in split(segment)]
    return "".join(
        f"{number}\n{clock(start)} --> {clock(end)}\n{text}\n\n"
        for number, (start, end, text) in enumerate(cues, start=1)
    )


def split(segment: Segment) -> Iterator[tuple[float, float, str]]:
    """Cut a segment between words wherever a cue would get too long in time or text."""
    line: list[Word] = []
    for word in segment.words:
        letters = sum(len(other.word) + 1 for other in line) + len(word.word)
        if line and (word.end - line[0].start > CUE_SECONDS or letters > CUE_LETTERS):
            yield line[0].start, line[-1].end, " ".join(other.word for other in line)
            line = []
        line.append(word)
    if line:
        yield line[0].start, line[-1].end, " ".join(other.word for other in line)
    elif segment.text:
        yield segment.start, segment.end, segment.text


def clock(seconds: float) -> str:
    """A time as SubRip writes it: 00:01:02,345."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"


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
