"""Every other command against a daemon: what it prints, what it sends, how it ends."""

import json

import pytest
from jobapi.v1 import job_service_pb2
from jobctl.__main__ import main


def read_errors(capsys):
    """Give what standard error holds, without what standard output holds."""
    return capsys.readouterr().err


def test_an_unreachable_daemon_is_told_with_its_address(daemon, job_file, tmp_path, capsys):
    """Without a daemon the code is 5, and the message has the address and the command that starts one."""
    address = f"unix:{tmp_path}/none.sock"

    for command in (["ping"], ["submit", str(job_file)], ["watch", "x"], ["logs", "x"], ["--address", address, "list"]):
        place = [] if "--address" in command else ["--address", address]
        assert main([*command, *place]) == 5
        errors = read_errors(capsys)
        assert address in errors
        assert "jobd serve" in errors


@pytest.mark.parametrize("command", [["get"], ["watch"], ["cancel"], ["logs"], ["download"], ["open"]])
def test_an_unknown_job_is_not_found(daemon, capsys, command):
    """The code is 6, with the daemon's own hint."""
    assert main([*command, "nosuch"]) == 6
    assert "there is no job nosuch" in read_errors(capsys)


def test_a_tcp_address_gets_the_token(daemon, tmp_path, monkeypatch, capsys):
    """Without the token the code is 4; a file, the environment and the daemon's own access file each give it."""
    daemon.token = "secret"
    address = ["--address", f"127.0.0.1:{daemon.port}"]
    (tmp_path / "token").write_text("secret\n")

    assert main(["get", "@latest", *address]) == 4
    assert "--token-file" in read_errors(capsys)
    assert main(["get", "@latest", *address, "--token-file", str(tmp_path / "token")]) == 0
    monkeypatch.setenv("JOBCTL_TOKEN", "wrong")
    assert main(["get", "@latest", *address]) == 4
    monkeypatch.delenv("JOBCTL_TOKEN")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "jobd").mkdir()
    access = {"version": 1, "addresses": [f"127.0.0.1:{daemon.port}"], "token_file": str(tmp_path / "token")}
    (tmp_path / "jobd" / "access.json").write_text(json.dumps(access))
    assert main(["get", "@latest", "--address", f"localhost:{daemon.port}"]) == 0
    monkeypatch.delenv("JOBCTL_ADDRESS")
    assert main(["get", "@latest"]) == 0


def test_get_list_and_ping_answer_as_text_and_as_json(daemon, capsys):
    """Text has what a person looks for; JSON has the wire's names and numbers as numbers."""
    assert main(["get", "@latest"]) == 0
    assert "its last consumer succeeded" in capsys.readouterr().out
    assert main(["get", "@latest", "-o", "json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["state"], job["artifacts"][0]["size_bytes"]) == ("JOB_STATE_SUCCEEDED", 700_000)
    assert main(["list", "--limit", "401", "--state", "running", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["jobs"]) == 401
    assert main(["list", "--limit", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert main(["ping"]) == 0
    assert "jobd 9.9" in capsys.readouterr().out


def test_cancel_passes_the_reason_and_open_prints_the_dashboard(daemon, capsys):
    """Cancel answers with the state; open prints the address, or says that there is none."""
    assert main(["cancel", "@latest", "--reason", "wrong file"]) == 0
    assert capsys.readouterr().out == "job7f3a CANCELLING\n"
    assert daemon.job.reason == "wrong file"
    assert main(["open", "@latest"]) == 6
    daemon.job.dashboard_url = "http://127.0.0.1:4200/runs/1"
    assert main(["open", "@latest"]) == 0
    assert capsys.readouterr().out == "http://127.0.0.1:4200/runs/1\n"


def test_modules_tell_the_good_the_broken_and_the_unknown(daemon, capsys):
    """The list has both kinds, one module has its parameters, an unknown one ends with 6."""
    assert main(["modules"]) == 0
    output = capsys.readouterr().out
    assert "probe" in output
    assert "no entrypoint" in output
    assert main(["modules", "probe"]) == 0
    assert "input" in capsys.readouterr().out
    assert main(["modules", "nosuch"]) == 6


def test_logs_are_prefixed_for_a_job_and_raw_for_an_entry(daemon, capsysbinary):
    """Whole lines are put together from pieces of several logs; one entry's bytes come as they are."""
    pieces = [("a", 0, b"one\ntw"), ("b", 0, b"x\xff\x1b[2J\n"), ("a", 6, b"o\nthree")]
    daemon.logs = [
        job_service_pb2.LogsResponse(step="s", entry=entry, attempt=1, offset=offset, data=data)
        for entry, offset, data in pieces
    ]

    assert main(["logs", "@latest"]) == 0
    assert capsysbinary.readouterr().out == b"s/a | one\ns/b | x\xff\x1b[2J\ns/a | two\ns/a | three\n"
    daemon.faults.append(("told to", 2))
    assert main(["logs", "@latest", "s/a", "--follow"]) == 0
    assert capsysbinary.readouterr().out == b"one\ntwo\nthree"


def test_download_brings_files_and_folders_whole(daemon, tmp_path, capsys):
    """Public artifacts arrive complete, across a broken stream, and each path is printed."""
    content = bytes(range(256)) * 2800
    daemon.files["audio.wav"] = content
    daemon.job.artifacts[0].size_bytes = len(content)
    daemon.folders["stills"] = {"a.png": b"a", "sub/b.png": b"b" * 250_000}
    daemon.faults.extend([("unavailable", 3), ("unavailable", 2), ("", -1), ("unavailable", 1)])
    target = tmp_path / "out"

    assert main(["download", "@latest", "--to", str(target)]) == 0

    assert [str(target / "audio.wav"), str(target / "stills")] == capsys.readouterr().out.splitlines()
    assert content == (target / "audio.wav").read_bytes()
    assert (target / "stills" / "sub" / "b.png").read_bytes() == b"b" * 250_000
    assert {"audio.wav", "stills"} == {path.name for path in target.iterdir()}


def test_download_keeps_existing_files_unless_forced(daemon, tmp_path, capsys):
    """An existing file is an error, and is replaced with --force; so is a folder."""
    daemon.files["audio.wav"] = b"new"
    daemon.job.artifacts[0].size_bytes = 3
    daemon.folders["stills"] = {"a.png": b"a"}
    (tmp_path / "audio.wav").write_bytes(b"old")
    (tmp_path / "stills").mkdir()
    (tmp_path / "stills" / "old.png").write_bytes(b"old")

    assert main(["download", "@latest", "--to", str(tmp_path)]) == 1
    assert "--force" in read_errors(capsys)
    assert (tmp_path / "audio.wav").read_bytes() == b"old"
    assert main(["download", "@latest", "--to", str(tmp_path), "--force"]) == 0
    assert (tmp_path / "audio.wav").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "stills").iterdir()] == ["a.png"]


def test_a_damaged_download_leaves_nothing_behind(daemon, tmp_path, capsys):
    """A checksum that differs, or a tar that reaches out of its folder, fails without a trace."""
    daemon.files["audio.wav"] = b"x"
    daemon.faults.append(("damage", -1))
    assert main(["download", "@latest", "audio.wav", "--to", str(tmp_path)]) == 1
    assert "damaged" in read_errors(capsys)
    daemon.folders["stills"] = {"../out.png": b"x"}
    assert main(["download", "@latest", "stills", "--to", str(tmp_path / "in")]) == 1

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_artifact_that_is_gone_is_told_with_its_reason(daemon, tmp_path, capsys):
    """A removed artifact and an unknown one end with 6."""
    assert main(["download", "@latest", "raw.yuv", "--to", str(tmp_path)]) == 6
    assert "its last consumer succeeded" in read_errors(capsys)
    assert main(["download", "@latest", "nosuch", "--to", str(tmp_path)]) == 6
    assert "audio.wav" in read_errors(capsys)
