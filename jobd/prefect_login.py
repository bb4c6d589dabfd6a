"""The password of the embedded Prefect server, and the way into its dashboard without typing it."""

import base64
import secrets
from pathlib import Path
from urllib.parse import quote

from jobd.layout import write_durably

LOGIN_PATH = "/jobd/login"
"""Where the server answers with `LOGIN_PAGE`."""

# Prefect's dashboard keeps the password in this place, as its own login page does. The fragment of an address is seen
# by the browser only: no server is sent it, and no log holds it. `replace` leaves no trace in the history.
LOGIN_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>jobd</title>
<noscript>The dashboard needs JavaScript.</noscript>
<script>
  const [key, path] = location.hash.slice(1).split("&").map(decodeURIComponent);
  if (key) localStorage.setItem("prefect-password", key);
  location.replace(new URL(/^\\/(?!\\/)/.test(path || "") ? path : "/", location.origin));
</script>
"""


def load_auth(file: Path) -> str:
    """Give `user:password` of the server whose secret is in this file, made at first use.

    It stays the same for as long as the file: runners that outlive a daemon go on to use it.
    """
    auth = file.read_text().strip() if file.exists() else ""
    if not auth:
        auth = f"jobd:{secrets.token_urlsafe(32)}"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(file, f"{auth}\n".encode())
    return auth


def login_url(url: str, auth: str) -> str:
    """Give the address that opens a page of the dashboard and lets the browser in for good; without auth, the page's.

    Whoever has this address may see and change everything in the dashboard.
    """
    if not auth:
        return url
    root, slash, path = url.removeprefix("http://").partition("/")
    key = base64.b64encode(auth.encode()).decode()
    return f"http://{root}{LOGIN_PATH}#{quote(key, safe='')}&{quote(slash + path, safe='')}"
