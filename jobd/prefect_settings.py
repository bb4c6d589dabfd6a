"""How Prefect is set up: the embedded server's directory, address and environment, and that of its clients."""

import os
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
EXIT_PORT_TAKEN = 98
"""The exit code of the child when another program holds its port."""
EXIT_ORPHANED = 97
"""The exit code of the child when its supervisor was gone before it could watch it."""

_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE")

_SETTINGS = {
    # Nothing leaves this machine: no usage data from the server or the library inside it, no advertising.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # The server never starts a second, temporary server for calls that it makes to itself.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    # The task runs in the dashboard come from these two. As shipped they write event by event; in batches they cost
    # a third of the processor time, and the start of the next flow does not queue behind them.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "500",
    # A batch that does not fill is written after this many whole seconds (5 as shipped): how late the dashboard is.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # Automations: nothing here defines one, and evaluating them for every event is a quarter of the server's work.
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    # These act on deployments, schedules, workers, pauses and concurrency leases, of which there are none.
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_ENABLED": "false",
    # Stays on: it ends the task runs that a cancelled flow run left open, for one query in this many seconds.
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "60",
    # As shipped, events are kept for a week and flow runs for ever. Half the shipped batch of deletions keeps each
    # lock on the database short.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 24 * 3600),
    "PREFECT_SERVER_SERVICES_DB_VACUUM_BATCH_SIZE": "100",
    # What a burst of work took goes back to the system: 200 jobs at once left 385 MiB for good, with these 290. A C
    # library that does not know them does as it always does.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    # Block types serve deployments and storage, which are not used.
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    # The log file holds what an operator must act on, without colours.
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_COLORS": "false",
    "NO_COLOR": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlace:
    """Where an embedded server keeps its files and answers."""

    directory: Path
    port: int

    @property
    def ui_url(self) -> str:
        """Give the address of the dashboard."""
        return f"http://{HOST}:{self.port}"

    @property
    def api_url(self) -> str:
        """Give the address of the REST API."""
        return f"{self.ui_url}/api"

    @property
    def database(self) -> Path:
        """Give the path of the server's SQLite file."""
        return self.directory / "prefect.db"

    @property
    def log(self) -> Path:
        """Give the path of the server's log file."""
        return self.directory / "server.log"

    @property
    def pid_file(self) -> Path:
        """Give the path of the file that names the running server process."""
        return self.directory / "server.pid"

    @property
    def auth_file(self) -> Path:
        """Give the path of the file that holds the server's `user:password`."""
        return self.directory / "auth"

    @property
    def origins(self) -> tuple[str, ...]:
        """List the addresses under which a browser on this machine may show the dashboard."""
        return (self.ui_url, f"http://localhost:{self.port}")


def server_environment(place: ServerPlace, auth: str = "") -> dict[str, str]:
    """Build the whole environment of the server: a short list of the daemon's variables, and the settings above.

    With `auth`, `user:password`, the server answers to nobody else; as shipped it lets in every user of the machine.
    No `PREFECT_*` variable of the user reaches the server, because a setting made for another server (an API key,
    a database) would change this one unseen.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # The second is for the calls that the server makes to itself.
    guarded = {"PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_API_AUTH_STRING": auth} if auth else {}
    return inherited | _SETTINGS | _placed(place) | guarded


def _placed(place: ServerPlace) -> dict[str, str]:
    """Give the settings that depend on the place."""
    return {
        # Everything Prefect writes, and every profile it reads, is in the directory.
        "PREFECT_HOME": str(place.directory),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(place.directory / "memo_store.toml"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{place.database}",
        # As shipped the dashboard's files are unpacked into the installed package, which may be read-only.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(place.directory / "ui"),
        # As shipped the dashboard asks port 4200 whatever port it is served on.
        "PREFECT_SERVER_UI_API_URL": place.api_url,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(place.port),
        "PREFECT_API_URL": place.api_url,
        # As shipped any page in the user's browser may read the API.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(place.origins),
    }


def client_environment(api_url: str, auth: str, home: Path, *, remote: bool) -> dict[str, str]:
    """Build the environment of the nursery, and so of every runner: the daemon's, with Prefect's settings of ours.

    `auth` is the server's `user:password`, where it wants one; the user's own API key goes to a remote server only.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "GRPC_"))}
    key = os.environ.get("PREFECT_API_KEY", "") if remote else ""
    secrets = {"PREFECT_API_AUTH_STRING": auth, "PREFECT_API_KEY": key}
    return (
        kept
        | {name: value for name, value in secrets.items() if value}
        | {
            "PREFECT_API_URL": api_url,
            "PREFECT_HOME": str(home),  # not the user's own, whose profiles would change how jobs run
            # A flow without an API must fail instead of starting a second server by itself.
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            # A call less at the start of every run; the embedded server is guarded by other means.
            **({} if remote else {"PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}),
            "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
            # Waits of 2, 4 and 8 s; with the default of five retries an absent server would hold a runner for minutes.
            "PREFECT_CLIENT_MAX_RETRIES": "3",
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_LOGGING_COLORS": "false",
            "PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE": "100000",
        }
    )
