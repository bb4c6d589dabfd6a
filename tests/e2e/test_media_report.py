"""The example that uses most of the modules, on real media."""

from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
CLIP = ROOT.parent / "shared/media/bigbuckbunny.mp4"

ENTRIES = 8
"""Task runs of the example."""


def check_report(daemon, video: Path, folder: Path) -> None:
    """Run the example on a video and look at what it makes."""
    job_id = daemon.submit(ROOT / "examples/media_report.yaml", "--input", f"video={video}", "--wait")
    assert daemon.jobctl("download", job_id, "--to", folder).code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["contact_sheet.jpg", "report.html", "subtitles.srt"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= 2
    assert 'src="http' not in page
    with Image.open(folder / "contact_sheet.jpg") as sheet:
        assert sheet.width == 1600
    run = daemon.final_run(job_id, tasks=ENTRIES)
    assert {task["state_type"] for task in run["tasks"]} == {"COMPLETED"}
    assert {item["state"] for item in daemon.get(job_id)["artifacts"] if not item["public"]} == {
        "ARTIFACT_STATE_REMOVED"
    }


def test_the_media_report_of_a_made_up_video(daemon, sample, tmp_path):
    """Every module does its part, and one page that needs nothing else comes out."""
    check_report(daemon, sample, tmp_path / "results")


@pytest.mark.skipif(not CLIP.exists(), reason="there is no real clip on this machine")
def test_the_media_report_of_a_real_video(daemon, tmp_path):
    """The same holds for a clip of a film."""
    check_report(daemon, CLIP, tmp_path / "results")
