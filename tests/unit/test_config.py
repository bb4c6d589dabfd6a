"""Where a setting comes from: the flag, else the environment, else the file, else the default."""

from pathlib import Path

import pytest

from jobd import config
from jobd.errors import ConfigError


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Give a function that writes the configuration file of an otherwise empty environment."""
    import os

    for name in [name for name in os.environ if name.startswith("JOBD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def write(text: str) -> Path:
        path = tmp_path / "config/jobd/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_the_nearest_source_wins(toml, monkeypatch: pytest.MonkeyPatch):
    """A flag goes before the environment, the environment before the file, and the file before the default."""
    assert config.load({}).prefect_port == 4200
    toml("prefect_port = 1001\n")
    assert config.load({}).prefect_port == 1001
    monkeypatch.setenv("JOBD_PREFECT_PORT", "1002")
    assert config.load({}).prefect_port == 1002
    assert config.load({"prefect_port": 1003}).prefect_port == 1003


def test_sources_are_mixed_setting_by_setting(toml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Each setting is looked for by itself, so that one flag does not hide the rest of the file."""
    toml('prefect_api_url = "http://localhost:1/api"\nlog_level = "debug"\n')
    monkeypatch.setenv("JOBD_LOG_LEVEL", "error")
    settings = config.load({"state_dir": tmp_path / "s"})
    assert ("http://localhost:1/api", "error", tmp_path / "s") == (
        settings.prefect_api_url,
        settings.log_level,
        settings.state_dir,
    )


def test_the_defaults_stand_without_any_source(toml, tmp_path: Path):
    """A daemon that is told nothing keeps its state in the user's state folder."""
    settings = config.load({})
    assert (tmp_path / "state/jobd", (), "") == (settings.state_dir, settings.listen, settings.prefect_api_url)
    assert settings.modules == (Path("modules").absolute(),)
    assert settings.capacity.cpus > 0


def test_lists_and_capacity_are_read_from_every_source(toml, monkeypatch: pytest.MonkeyPatch):
    """Folders are separated as in PATH, addresses by commas, and a capacity is written the same everywhere."""
    toml('modules = ["/a", "/b"]\nlisten = ["unix:/run/x", "localhost:1"]\ncapacity = "cpus=3,gpus=1"\n')
    settings = config.load({})
    assert ((Path("/a"), Path("/b")), ("unix:/run/x", "localhost:1")) == (settings.modules, settings.listen)
    assert (settings.capacity.cpus, settings.capacity.gpus) == (3, 1)
    monkeypatch.setenv("JOBD_MODULES", "/c:/d")
    monkeypatch.setenv("JOBD_LISTEN", "unix:/run/y,localhost:2")
    monkeypatch.setenv("JOBD_CAPACITY", "cpus=5")
    settings = config.load({})
    assert ((Path("/c"), Path("/d")), ("unix:/run/y", "localhost:2")) == (settings.modules, settings.listen)
    assert settings.capacity.cpus == 5
    settings = config.load({"modules": [Path("/e")], "listen": ["localhost:3"], "capacity": "cpus=7"})
    assert ((Path("/e"),), ("localhost:3",), 7) == (settings.modules, settings.listen, settings.capacity.cpus)


def test_sizes_are_read_from_every_source(toml, monkeypatch: pytest.MonkeyPatch):
    """With a unit or as a number of bytes, 0 included, and as a number where there are numbers."""
    toml("most_bytes = 0\n")
    assert config.load({}).most_bytes == 0
    monkeypatch.setenv("JOBD_MOST_BYTES", "0")
    monkeypatch.setenv("JOBD_RESERVE", "1048576")
    settings = config.load({})
    assert (settings.most_bytes, settings.reserve) == (0, 1 << 20)
    settings = config.load({"most_bytes": "500GiB", "reserve": "0"})
    assert (settings.most_bytes, settings.reserve) == (500 << 30, 0)
    for text in ("-1", "1.5", "many"):
        with pytest.raises(ConfigError):
            config.load({"most_bytes": text})


def test_variables_of_others_mean_nothing(toml, monkeypatch: pytest.MonkeyPatch):
    """Every variable of the daemon's begins with JOBD_, those with other names in the file too."""
    for name in ("ALLOW_ROOT", "ALLOW_ROOTS", "STATE_DIR", "LISTEN"):
        monkeypatch.setenv(name, "/stray")
    settings = config.load({})
    assert (settings.allow_root, settings.listen, settings.state_dir.name) == ((), (), "jobd")
    monkeypatch.setenv("JOBD_ALLOW_ROOTS", "/a:/b")
    assert config.load({}).allow_root == (Path("/a"), Path("/b"))


def test_folders_are_absolute(toml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A relative folder means the one below where the daemon was started, and `~` the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    settings = config.load({"state_dir": Path("here"), "modules": [Path("~/modules")]})
    assert tmp_path / "here" == settings.state_dir
    assert (Path("/home/somebody/modules"),) == settings.modules


def test_another_file_can_be_named(toml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """JOBD_CONFIG names the file that is read instead, and must name one."""
    toml("prefect_port = 1\n")
    (tmp_path / "other.toml").write_text("prefect_port = 2\n")
    monkeypatch.setenv("JOBD_CONFIG", str(tmp_path / "other.toml"))
    assert config.load({}).prefect_port == 2
    monkeypatch.setenv("JOBD_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(ConfigError, match=r"missing\.toml, which is not a file"):
        config.load({})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prefect_prot = 1\n", "prefect_prot"),
        ("prefect_port = 70000\n", "prefect_port"),
        ('log_level = "loud"\n', "log_level"),
        ('log_format = "xml"\n', "log_format"),
        ('capacity = "cpus=none"\n', "cpus=none"),
        ("prefect_port = \n", "is not valid TOML"),
        ("[jobd]\nprefect_port = 1\n", "jobd"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(toml, text: str, told: str):
    """Unknown keys, bad values and bad TOML are errors that name what is wrong."""
    toml(text)
    with pytest.raises(ConfigError, match=told):
        config.load({})


@pytest.mark.parametrize(("name", "value"), [("PREFECT_PORT", "many"), ("CAPACITY", "cpus"), ("LOG_LEVEL", "")])
def test_an_environment_that_cannot_be_used_is_refused(toml, monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    """A bad value in the environment is an error that names the setting."""
    monkeypatch.setenv(f"JOBD_{name}", value)
    with pytest.raises(ConfigError, match=name.lower()):
        config.load({})
