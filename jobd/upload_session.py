"""An upload that is under way, and what is written down of it beside its bytes."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from jobd import procfs
from jobd.errors import DigestMismatchError
from jobd.layout import write_durably
from jobd.upload_folder import unpack
from jobd.upload_part import Part

_ABOUT = "about.json"


class About(BaseModel):
    """What an upload is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    owner: str
    """Whose it is, by the name of an identity."""
    folder: bool
    """Whether its bytes are a tar of a folder."""
    size_bytes: int | None = None
    """How many bytes it has; None where it is not known yet."""
    sha256: str = ""
    """Of its bytes, in lower-case hexadecimal; empty where it is not known yet."""
    request_id: str = ""
    """What its client calls it; may be empty."""
    boot_id: str = ""
    """The boot of the machine in which it was begun."""

    @classmethod
    def load(cls, place: Path) -> Self | None:
        """Read what is written down of an upload; None where there is nothing that can be read."""
        try:
            return cls.model_validate_json((place / _ABOUT).read_bytes())
        except (OSError, ValidationError):  # an upload of an older daemon, or one torn by a power cut
            return None

    def save(self, place: Path) -> None:
        """Write it down; a power cut may undo that."""
        (place / _ABOUT).write_text(self.model_dump_json())

    def covers(self, other: "About") -> bool:
        """Tell whether an upload, whole or promised in the same words, is the `other` one that is wished for."""
        return self.folder == other.folder and other.fits(self.size_bytes, self.sha256)

    def fits(self, size: int | None, sha256: str) -> bool:
        """Tell whether bytes are those that were promised, as far as something was."""
        return self.size_bytes in (None, size) and self.sha256 in ("", sha256)


@dataclass(slots=True, kw_only=True)
class Session:
    """An upload that is under way."""

    id: str
    place: Path
    about: About
    part: Part
    writing: bool = False
    """Whether a stream sends to it."""

    @classmethod
    def make(cls, upload_id: str, place: Path, about: About) -> Self:
        """Begin an upload in a new folder."""
        place.mkdir(mode=0o700)
        about.save(place)
        return cls(id=upload_id, place=place, about=about, part=Part(place / _part_name(about)))

    @classmethod
    def take_back(cls, upload_id: str, place: Path) -> Self | None:
        """Go on with what an earlier daemon began; None where that cannot be."""
        about = About.load(place)
        # Bytes are on disk for certain only once they are synced, at the end: after a crash of the machine none count.
        if about is None or about.boot_id != procfs.boot_id():
            return None
        return cls(id=upload_id, place=place, about=about, part=Part(place / _part_name(about)))

    def settle(self, check_room: Callable[[int], None]) -> About:
        """Put the upload on disk, ready for its name, and give what it has become.

        DigestMismatchError when the bytes are not those that were promised, InvalidInputError when they are no tar of a
        folder, and what `check_room` raises for the size of a file in it.
        """
        self.part.sync()
        size, digest = self.part.size, self.part.sha256
        if not self.about.fits(size, digest):
            raise DigestMismatchError(
                f"{size} bytes with the SHA-256 {digest} have arrived, which is not what was promised",
                hint="send it anew; the file may have changed meanwhile",
            )
        if self.about.folder:
            unpack(self.place / "tar", self.place / "data", check_room)
        about = self.about.model_copy(update={"size_bytes": size, "sha256": digest})
        about.save(self.place)
        write_durably(self.place / "sha256", digest.encode())
        return about


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some bytes of an upload."""

    data: bytes
    last: bool
    """Whether the upload is whole with them."""


class Arriving:
    """The bytes of one stream to an upload."""

    def __init__(self, session: Session, pieces: AsyncIterable[Piece]) -> None:
        """Take these pieces for the upload."""
        self._pieces = pieces
        self._promised = session.about.size_bytes
        self._size = session.part.size
        self.finished = False
        """Whether the last piece has come."""

    async def read(self) -> AsyncIterator[bytes]:
        """Give the bytes up to the last piece; DigestMismatchError when there are more than were promised."""
        async for piece in self._pieces:
            self._size += len(piece.data)
            if self._promised is not None and self._size > self._promised:
                raise DigestMismatchError(f"more bytes have arrived than the {self._promised} that were promised")
            yield piece.data
            if piece.last:
                self.finished = True
                return


def _part_name(about: About) -> str:
    """Give the name of the file that takes the bytes."""
    return "tar" if about.folder else "data"
