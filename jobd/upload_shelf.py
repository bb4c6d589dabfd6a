"""The whole uploads: who has sent what, so that nobody sends the same twice, and what may go when the disk is short."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from jobd.layout import write_durably
from jobd.trees import discard
from jobd.upload_folder import link
from jobd.upload_session import About

DATA, USED = "data", "used"
_PRUNE_EVERY = 1000


class Shelf:
    """The whole uploads in one folder, each in a folder of its own that has its id for a name."""

    def __init__(self, folder: Path) -> None:
        """Begin without knowing any."""
        self._folder = folder
        self._known: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
        self._used: dict[str, None] = {}
        self._added = 0

    def add(self, upload_id: str, about: About) -> None:
        """Know an upload from now on."""
        self._added += 1
        if self._added % _PRUNE_EVERY == 0:
            self._prune()
        self._known[_key(about)].append(upload_id)
        if (self._folder / upload_id / USED).exists():
            self._used[upload_id] = None

    def copy(self, wished: About, place: Path) -> About | None:
        """Make a new upload at `place` of one that is the same, and tell what it is; None where there is none.

        Their bytes are on disk once: each is a name of its own for them, and can go without the other.
        """
        for upload_id, known in self._matching(wished):
            about = known.model_copy(update={"request_id": wished.request_id})
            try:
                place.mkdir(mode=0o700)
                link(self._folder / upload_id / DATA, place / DATA)
                write_durably(place / "sha256", about.sha256.encode())
                about.save(place)
            except OSError:  # it is being removed, or has as many names as a file can have
                discard(place)
            else:
                return about
        return None

    def note_used(self, upload_id: str) -> None:
        """Note that a job has taken an upload: its bytes stay only for whoever sends the same again."""
        (self._folder / upload_id / USED).touch()
        self._used[upload_id] = None

    def drop_used(self) -> bool:
        """Remove the bytes of all uploads that jobs have taken, and tell whether there were any."""
        dropped = list(self._used)
        for upload_id in dropped:
            self._used.pop(upload_id, None)
            remove_data(self._folder / upload_id)
        return bool(dropped)

    def _matching(self, wished: About) -> Iterator[tuple[str, About]]:
        ids = self._known.get(_key(wished), [])
        for upload_id in reversed(list(ids)):
            place = self._folder / upload_id
            about = About.load(place) if (place / DATA).exists() else None
            if about is None:
                ids.remove(upload_id)
            elif about.covers(wished):
                yield upload_id, about

    def _prune(self) -> None:
        """Forget what has been removed meanwhile."""
        there = {path.name for path in self._folder.iterdir()}
        known = {key: [upload_id for upload_id in ids if upload_id in there] for key, ids in self._known.items()}
        self._known = defaultdict(list, {key: ids for key, ids in known.items() if ids})
        self._used = {upload_id: None for upload_id in self._used if upload_id in there}


def remove_data(place: Path) -> None:
    """Remove the bytes of an upload; its digest stays."""
    data = place / DATA
    if data.is_dir():
        discard(data)
    else:
        data.unlink(missing_ok=True)


def _key(about: About) -> tuple[str, str, bool]:
    # By owner, so that a digest tells nobody what others have sent.
    return about.owner, about.sha256, about.folder
