"""What a daemon is told: by flag, else by environment (`JOBD_…`), else by a TOML file, else by default."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from jobd.capacity import parse_capacity
from jobd.errors import ConfigError
from jobd.layout import default_state_directory
from jobd.manifest import Bytes
from jobd.plan import Capacity
from jobd.retention import RetentionPolicy


class LogFormat(StrEnum):
    """How the daemon's own log is written."""

    AUTO = "auto"
    """For people on a terminal, JSON otherwise."""
    CONSOLE = "console"
    JSON = "json"


def default_config_file() -> Path:
    """Give the TOML file that is read when no other is named."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "jobd/config.toml"


class Config(BaseSettings):
    """What a daemon is told. The names are those of the TOML file, and in capitals after `JOBD_` the environment's."""

    model_config = SettingsConfigDict(env_prefix="JOBD_", extra="forbid", frozen=True)

    state_dir: Path = Field(default_factory=default_state_directory)
    """The folder for everything the daemon keeps."""
    modules: Annotated[tuple[Path, ...], NoDecode] = (Path("modules"),)
    """Folders in which modules are looked for; in the environment separated as in PATH."""
    listen: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses, `unix:PATH` or `HOST:PORT`; by default a unix socket and 127.0.0.1:50051."""
    prefect_api_url: str = ""
    """The API of a Prefect server to use; by default an embedded one is started."""
    prefect_port: int = Field(default=4200, ge=0, le=65535)
    """The port of the embedded Prefect server; 0, or a taken port, means any free one."""
    prefect_grace: float = Field(default=20.0, ge=0)
    """For how many seconds a job waits for Prefect before it runs without it."""
    capacity: Annotated[Capacity, NoDecode] = Field(default_factory=lambda: parse_capacity(""))
    """What entries may use at once, as `cpus=4,memory=8GiB,gpus=1,licences=2`."""
    reserve: Bytes | None = None
    """So many bytes of the disk stay free, as `2GiB`; by default 1 GiB or 5 %, whichever is smaller."""
    keep_jobs: float = Field(default=0.0, ge=0)
    """For how many days an ended job is kept, its results included; 0 for ever, as nobody wants to lose results
    by not having read this."""
    keep_failed: float = Field(default=7.0, ge=0)
    """For how many days a job that did not succeed keeps what a retry would use again; 0 as long as the job."""
    keep_logs: float = Field(default=30.0, ge=0)
    """For how many days the logs of an ended job are kept; 0 as long as the job."""
    most_jobs: int = Field(default=50_000, ge=0)
    """So many ended jobs are kept; 0 any number."""
    most_bytes: Bytes = 0
    """So many bytes may the folders of ended jobs take together, as `500GiB`; 0 any number."""
    log_format: LogFormat = LogFormat.AUTO
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @property
    def retention(self) -> RetentionPolicy:
        """How long what is kept."""
        days = 86400.0
        return RetentionPolicy(
            keep_jobs=self.keep_jobs * days or None,
            keep_failed=self.keep_failed * days or None,
            keep_logs=self.keep_logs * days or None,
            most_jobs=self.most_jobs or None,
            most_bytes=self.most_bytes or None,
        )

    @field_validator("state_dir", mode="after")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("modules", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:  # noqa: ANN401 - whatever a source holds
        return value.split(os.pathsep) if isinstance(value, str) else value

    @field_validator("modules", mode="after")
    @classmethod
    def _absolute_paths(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser().absolute() for path in paths)

    @field_validator("listen", mode="before")
    @classmethod
    def _split_addresses(cls, value: Any) -> Any:  # noqa: ANN401 - whatever a source holds
        return [part for part in value.split(",") if part] if isinstance(value, str) else value

    @field_validator("capacity", mode="before")
    @classmethod
    def _read_capacity(cls, value: Any) -> Any:  # noqa: ANN401 - whatever a source holds
        return parse_capacity(value) if isinstance(value, str) else value

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
