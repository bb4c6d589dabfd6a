"""What keeps web pages of strangers away from the embedded Prefect server.

The server listens on this machine only, but so does every page in the user's browser: it may post to any port here
without asking, open websockets to it, or come under a name of its own that now resolves here. Prefect's own answer, a
token per client, costs a request each time a flow starts and does not cover websockets. Two headers do: a browser
always says which page asks, and which host it believes it is talking to.

The same wrapper keeps the dashboard at home: one of Prefect's two was seen to call a company that records sessions
although all analytics were off, so each answer tells the browser to connect to this server only.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from jobd.prefect_login import LOGIN_PAGE, LOGIN_PATH

# The first line is what the dashboard's own bundles need.
_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "connect-src {sources}; form-action 'self'; frame-ancestors 'none'"
)
_REFUSAL = "This address serves programs of this machine and its own dashboard only.\n"


class LocalPagesOnly:
    """An ASGI application that answers 403, or closes the websocket, for the pages of other sites."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        """Wrap an application that is shown in browsers under these origins only."""
        self._app = app
        self._origins = frozenset(origins)
        sources = ("'self'", "data:", "blob:", *origins, *(origin.replace("http:", "ws:") for origin in origins))
        self._policy = _POLICY.format(sources=" ".join(sources))
        self._hosts = frozenset(urlsplit(origin).hostname for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif self._admits(Headers(scope=scope)):
            login = scope["type"] == "http" and scope["path"] == LOGIN_PATH
            await (HTMLResponse(LOGIN_PAGE) if login else self._app)(scope, receive, self._bound(send))
        elif scope["type"] == "websocket":
            await WebSocketClose(code=1008, reason=_REFUSAL.strip())(scope, receive, send)
        else:
            await PlainTextResponse(_REFUSAL, status_code=403)(scope, receive, send)

    def _bound(self, send: Send) -> Send:
        """Add the policy to the head of the answer."""

        async def send_bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = self._policy
            await send(message)

        return send_bound

    def _admits(self, headers: Headers) -> bool:
        """Tell whether the request is from a program, or from a page of this server."""
        origin = headers.get("origin")
        return urlsplit(f"//{headers.get('host', '')}").hostname in self._hosts and (
            origin is None or origin in self._origins
        )
