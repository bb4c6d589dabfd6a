"""The page that the report module writes."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest

DATA_URI = re.compile(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")


class Loads(HTMLParser):
    """Collects everything on a page that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.addresses += [value for name, value in attrs if name in {"src", "href", "srcset", "data", "poster"}]


def test_report_is_one_self_contained_page(run, media, tmp_path):
    """The page carries every image inside, fetches nothing, and tells what the other modules found."""
    names = ("facts.json", "scenes.json", "loudness.json", "transcript.json", "sheet.jpg", "wave.png")
    facts, scenes, loudness, transcript, sheet, wave = (tmp_path / name for name in names)
    run.ok("probe", "--video", media / "clip.mp4", "--facts", facts)
    run.ok("detect_scenes", "--video", media / "clip.mp4", "--scenes", scenes)
    run.ok("contact_sheet", "--video", media / "clip.mp4", "--sheet", sheet)
    run.ok("loudness", "--audio", media / "tone.wav", "--loudness", loudness)
    run.ok("waveform", "--audio", media / "tone.wav", "--image", wave)
    said = {"start": 1.0, "end": 2.0, "text": "<b>hello</b>", "words": []}
    transcript.write_text(json.dumps({"engine": "pocketsphinx", "segments": [said]}))

    inputs = ("--facts", facts, "--scenes", scenes, "--loudness", loudness, "--transcript", transcript)
    pictures = ("--contact_sheet", sheet, "--waveform", wave, "--images", sheet, wave)
    run.ok("report", *inputs, *pictures, "--page", tmp_path / "page.html", "--title=A & B")

    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(page)
    assert len(loads.addresses) == 4
    assert all(address.startswith("data:image/") for address in loads.addresses)
    assert not re.search(r"https?://|url\((?!#)|@import|<script", page)
    assert base64.b64decode(DATA_URI.search(page)[1]) == sheet.read_bytes()
    assert "A &amp; B" in page
    assert "&lt;b&gt;hello" in page
    assert "On target." in page
    assert page.count("Scene 3,") == 1


@pytest.mark.parametrize("part", ["facts", "scenes", "loudness", "transcript"])
def test_report_takes_any_part_alone(run, media, tmp_path, part):
    """Every part may be missing: with one input, even an empty one, there is a page."""
    (tmp_path / "part.json").write_text("{}")

    run.ok("report", f"--{part}", tmp_path / "part.json", "--page", tmp_path / "page.html")

    assert "</html>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_report_refuses_what_it_cannot_show(run, media, tmp_path):
    """Nothing at all, broken JSON, JSON of another kind and a broken image are failures that name the input."""
    page = ("--page", tmp_path / "page.html")
    for name, text in (("bad.json", "{"), ("list.json", "[]"), ("bad.png", "no image"), ("odd.json", '{"scenes": 7}')):
        (tmp_path / name).write_text(text)

    assert "nothing to report" in run.failure("report", *page)
    assert "bad.json is not JSON" in run.failure("report", "--facts", tmp_path / "bad.json", *page)
    assert "list.json holds no JSON object" in run.failure("report", "--facts", tmp_path / "list.json", *page)
    assert "bad.png is not an image" in run.failure("report", "--waveform", tmp_path / "bad.png", *page)
    assert "an input is not what" in run.failure("report", "--scenes", tmp_path / "odd.json", *page)
