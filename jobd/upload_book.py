"""Which uploads are under way, and what their clients call them."""

from jobd.call_limits import MAX_OPEN_UPLOADS, MAX_OPEN_UPLOADS_PER_CALLER
from jobd.errors import TooManyError, UploadBusyError, UploadNotFoundError
from jobd.upload_session import About, Session

_MOST_NAMES = 10_000
"""So many request_ids are remembered; whoever uses an older one again begins anew."""


class Book:
    """The uploads under way, and the request_ids of these and of those that are whole."""

    def __init__(self) -> None:
        """Begin without any."""
        self._sessions: dict[str, Session] = {}
        self._names: dict[tuple[str, str], str] = {}

    def add(self, session: Session) -> None:
        """Know an upload that is under way."""
        self._sessions[session.id] = session

    def name(self, upload_id: str, about: About) -> None:
        """Remember how a client calls an upload."""
        if about.request_id:
            self._names.pop((about.owner, about.request_id), None)
            self._names[about.owner, about.request_id] = upload_id
            if len(self._names) > _MOST_NAMES:
                del self._names[next(iter(self._names))]

    def remove(self, session: Session) -> None:
        """Forget an upload, as it is whole, or was discarded."""
        self._sessions.pop(session.id, None)

    def named(self, about: About) -> str:
        """Give the id of the upload that its client calls so, under way or not; empty for none."""
        return self._names.get((about.owner, about.request_id), "")

    def get(self, upload_id: str) -> Session | None:
        """Give an upload if it is under way."""
        session = self._sessions.get(upload_id)
        return session if session and session.place.exists() else None

    def claim(self, upload_id: str, owner: str) -> Session:
        """Give an upload of this owner to a stream, until it sets `writing` to false again.

        UploadNotFoundError, the same for what is somebody else's, or UploadBusyError.
        """
        session = self.get(upload_id)
        if session is None or session.about.owner != owner:
            raise UploadNotFoundError(f"no upload {upload_id!r} is under way", hint="begin it with BeginUpload")
        if session.writing:
            raise UploadBusyError(f"another stream is sending to upload {upload_id}", hint="wait until it has ended")
        session.writing = True
        return session

    def find_interrupted(self, wished: About) -> Session | None:
        """Find an upload of the same bytes by the same owner to which nobody is sending."""
        same = wished.owner, wished.folder, wished.size_bytes, wished.sha256
        for session in self._sessions.values():
            about = session.about
            if (about.owner, about.folder, about.size_bytes, about.sha256) == same and not session.writing:
                return self.get(session.id)
        return None

    def check_number(self, owner: str) -> None:
        """Raise TooManyError unless there is a place for another upload of this owner."""
        for session in list(self._sessions.values()):
            if not session.place.exists():
                self.remove(session)  # nobody went on with it for too long
        own = sum(session.about.owner == owner for session in self._sessions.values())
        if own >= MAX_OPEN_UPLOADS_PER_CALLER:
            raise TooManyError(
                f"{owner} has too many uploads under way",
                limit="open_uploads_per_caller",
                value=MAX_OPEN_UPLOADS_PER_CALLER,
            )
        if len(self._sessions) >= MAX_OPEN_UPLOADS:
            raise TooManyError("too many uploads are under way", limit="open_uploads", value=MAX_OPEN_UPLOADS)
