"""What a daemon is told: by flag, else by environment (`JOBD_…`), else by a TOML file, else by default."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from jobd.call_limits import CallLimits
from jobd.capacity import parse_capacity
from jobd.containment import SandboxPolicy
from jobd.doors import CertificateRoles, read_certificate_roles
from jobd.errors import ConfigError
from jobd.fields import BytesAsText
from jobd.layout import default_state_directory
from jobd.metrics_server import parse_address
from jobd.plan import Capacity
from jobd.retention import RetentionPolicy
from jobd.tls import TlsFiles


class LogFormat(StrEnum):
    """How the daemon's own log is written."""

    AUTO = "auto"
    """For people on a terminal, JSON otherwise."""
    CONSOLE = "console"
    JSON = "json"


def default_config_file() -> Path:
    """Give the TOML file that is read when no other is named."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "jobd/config.toml"


_ALLOW_ROOTS = AliasChoices("allow_root", "allow_roots", "JOBD_ALLOW_ROOTS", "JOBD_ALLOW_ROOT")


class Config(BaseSettings):
    """What a daemon is told. The names are those of the TOML file, and in capitals after `JOBD_` the environment's."""

    model_config = SettingsConfigDict(env_prefix="JOBD_", extra="forbid", frozen=True)

    state_dir: Path = Field(default_factory=default_state_directory)
    """The folder for everything the daemon keeps."""
    modules: Annotated[tuple[Path, ...], NoDecode] = (Path("modules"),)
    """Folders in which modules are looked for; in the environment separated as in PATH."""
    listen: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses, `unix:PATH` or `HOST:PORT`; by default a unix socket and 127.0.0.1:50051."""
    allow_root: Annotated[tuple[Path, ...], NoDecode] = Field(default=(), validation_alias=_ALLOW_ROOTS)
    """Folders below which input files may be named by path; without any, the unix socket's callers may name all files
    and others none. In the environment (JOBD_ALLOW_ROOTS) separated as in PATH."""
    secrets_dir: Path | None = None
    """The folder of the secrets; by default `secrets` in the state directory."""
    sandbox: SandboxPolicy = SandboxPolicy.AUTO
    """Which entries run in a sandbox: `off` none, `auto` those whose manifest asks for one, `require` all."""
    run_as: str = ""
    """The user as whom modules run; by default the daemon's own. Needs a daemon that is started as root."""
    tls_cert: Path | None = None
    """The certificate of the TCP ports, as PEM; None serves them in the clear."""
    tls_key: Path | None = None
    """Its private key, as PEM without a passphrase."""
    tls_client_ca: Path | None = None
    """The authorities whose certificates clients must show, as PEM; None asks clients for none."""
    tls_client_role: Annotated[tuple[str, ...], NoDecode] = ()
    """What clients may do by their certificates: `ROLE`, or `NAME=ROLE`; in the environment separated by commas."""
    insecure: bool = False
    """Whether TCP ports that other machines can reach may be served in the clear."""
    max_queued: int = Field(default=CallLimits().max_queued, ge=1)
    """So many jobs may wait in the queue."""
    max_streams: int = Field(default=CallLimits().max_streams, ge=1)
    """So many watches, logs and downloads may be open."""
    max_streams_per_caller: int = Field(default=CallLimits().max_streams_per_caller, ge=1)
    """So many of them by one identity."""
    max_uploads: int = Field(default=CallLimits().max_uploads, ge=1)
    """So many uploads may be under way."""
    max_uploads_per_caller: int = Field(default=CallLimits().max_uploads_per_caller, ge=1)
    """So many of them by one identity."""
    prefect_api_url: str = ""
    """The API of a Prefect server to use; by default an embedded one is started."""
    prefect_port: int = Field(default=4200, ge=0, le=65535)
    """The port of the embedded Prefect server; 0, or a taken port, means any free one."""
    prefect_grace: float = Field(default=20.0, ge=0)
    """For how many seconds a job waits for Prefect before it runs without it."""
    most_active: int = Field(default=64, ge=1)
    """So many jobs run at once before others have to wait for room that these leave."""
    ageing: float = Field(default=600.0, gt=0)
    """For each of so many seconds that it waits, a job counts as one priority higher."""
    capacity: Annotated[Capacity, NoDecode] = Field(default_factory=lambda: parse_capacity(""))
    """What entries may use at once, as `cpus=4,memory=8GiB,gpus=1,licences=2`."""
    reserve: BytesAsText | None = None
    """So many bytes of the disk stay free, as `2GiB`; by default 1 GiB or 5 %, whichever is smaller."""
    keep_jobs: float = Field(default=0.0, ge=0)
    """For how many days an ended job is kept, its results included; 0 for ever, as nobody wants to lose results
    by not having read this."""
    keep_failed: float = Field(default=7.0, ge=0)
    """For how many days a job that did not succeed keeps what a retry would use again; 0 as long as the job."""
    keep_logs: float = Field(default=30.0, ge=0)
    """For how many days the logs of an ended job are kept; 0 as long as the job."""
    keep_uploads: float = Field(default=24.0, gt=0)
    """For how many hours an upload waits for a job that uses it."""
    keep_partial_uploads: float = Field(default=1.0, gt=0)
    """For how many hours an interrupted upload waits to be gone on with, and the bytes of a used one to save somebody
    a transfer."""
    most_jobs: int = Field(default=50_000, ge=0)
    """So many ended jobs are kept; 0 any number."""
    most_bytes: BytesAsText = 0
    """So many bytes may the folders of ended jobs take together, as `500GiB`; 0 any number."""
    metrics: str = ""
    """Where metrics are served to Prometheus: `HOST:PORT`, or a port of 127.0.0.1; empty for nowhere."""
    tracing: str = Field(default="", pattern="^(https?://.+)?$")
    """Where traces are sent, the base address of an OTLP/HTTP collector; empty for what OpenTelemetry's own variables
    say, or nowhere."""
    log_format: LogFormat = LogFormat.AUTO
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @property
    def call_limits(self) -> CallLimits:
        """How much callers may have at once."""
        return CallLimits(
            max_queued=self.max_queued,
            max_streams=self.max_streams,
            max_streams_per_caller=self.max_streams_per_caller,
            max_uploads=self.max_uploads,
            max_uploads_per_caller=self.max_uploads_per_caller,
        )

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS; None where there is none. ConfigError when only some of them are given."""
        if self.tls_cert is None and self.tls_key is None and self.tls_client_ca is None:
            return None
        if self.tls_cert is None or self.tls_key is None:
            raise ConfigError("TLS needs both a certificate and its key", hint="give --tls-cert and --tls-key")
        return TlsFiles(certificate=self.tls_cert, key=self.tls_key, client_authority=self.tls_client_ca)

    @property
    def certificate_roles(self) -> CertificateRoles:
        """What clients may do by their certificates; ConfigError for what cannot be read."""
        return read_certificate_roles(self.tls_client_role)

    @property
    def retention(self) -> RetentionPolicy:
        """How long what is kept."""
        days = 86400.0
        return RetentionPolicy(
            keep_jobs=self.keep_jobs * days or None,
            keep_failed=self.keep_failed * days or None,
            keep_logs=self.keep_logs * days or None,
            keep_uploads=self.keep_uploads * 3600.0,
            keep_partial_uploads=self.keep_partial_uploads * 3600.0,
            most_jobs=self.most_jobs or None,
            most_bytes=self.most_bytes or None,
        )

    @field_validator("state_dir", mode="after")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("modules", "allow_root", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:  # noqa: ANN401 - whatever a source holds
        return value.split(os.pathsep) if isinstance(value, str) else value

    @field_validator("modules", "allow_root", mode="after")
    @classmethod
    def _absolute_paths(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser().absolute() for path in paths)

    @field_validator("tls_cert", "tls_key", "tls_client_ca", "secrets_dir", mode="after")
    @classmethod
    def _absolute_or_none(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("tls_client_role", mode="after")
    @classmethod
    def _check_roles(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        read_certificate_roles(texts)
        return texts

    @field_validator("listen", "tls_client_role", mode="before")
    @classmethod
    def _split_addresses(cls, value: Any) -> Any:  # noqa: ANN401 - whatever a source holds
        return [part for part in value.split(",") if part] if isinstance(value, str) else value

    @field_validator("capacity", mode="before")
    @classmethod
    def _read_capacity(cls, value: Any) -> Any:  # noqa: ANN401 - whatever a source holds
        return parse_capacity(value) if isinstance(value, str) else value

    @field_validator("metrics", mode="after")
    @classmethod
    def _check_metrics(cls, address: str) -> str:
        if address:
            parse_address(address)
        return address

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read flags before the environment before the file."""
        del dotenv_settings, file_secret_settings
        if isinstance(env_settings, EnvSettingsSource):
            # What has other names in the file is looked for by these as well, without the prefix.
            ours = {name: text for name, text in env_settings.env_vars.items() if name.startswith("jobd_")}
            env_settings.env_vars = ours
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config_file())


def _config_file() -> Path:
    named = os.environ.get("JOBD_CONFIG")
    if named and not Path(named).is_file():
        raise ConfigError(f"JOBD_CONFIG names {named}, which is not a file")
    return Path(named) if named else default_config_file()


def load(flags: dict[str, Any]) -> Config:
    """Read the configuration; ConfigError says what of it cannot be used."""
    try:
        return Config(**flags)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"the configuration cannot be used: {problems}", hint="see `jobd serve --help`") from error
    except ValueError as error:  # TOML that is none
        raise ConfigError(f"{_config_file()} is not valid TOML: {error}") from error
