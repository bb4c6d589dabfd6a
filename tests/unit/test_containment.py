"""What manifests may ask for in secrets and sandboxes, and what becomes of it in a plan."""

from pathlib import Path

import pytest

from jobd.catalog import Catalog
from jobd.containment import Bounds, Provisions, SandboxPolicy
from jobd.errors import InvalidDocumentError, InvalidJobError
from jobd.manifest import read_manifest
from jobd.plan import Capacity, PlanEntry, Resources, Sandbox
from jobd.planner import make_plan

MANIFEST = "name: probe\ndescription: Looks around\nentrypoint: main.py\n"
JOB = b"name: job\nversion: 1\nsteps:\n  - name: one\n    entries:\n      - module: probe\n"


def violation(text: str) -> str:
    """Give the one thing that is wrong with a manifest."""
    with pytest.raises(InvalidDocumentError) as caught:
        read_manifest((MANIFEST + text).encode())
    [found] = caught.value.violations
    return str(found)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("", {}),
        ("secrets: [API_KEY, OTHER]", {"API_KEY": "API_KEY", "OTHER": "OTHER"}),
        ("secrets: {TOKEN: vendor.token-1}", {"TOKEN": "vendor.token-1"}),
    ],
)
def test_secrets_are_a_list_or_a_mapping(text: str, secrets: dict[str, str]):
    """A list names variables and secrets at once; a mapping names the secret for each variable."""
    assert read_manifest((MANIFEST + text).encode()).secrets == secrets


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("secrets: [JOBD_X]", "is set by jobd itself"),
        ("secrets: [a-b]", "not a name for an environment variable"),
        ("secrets: {A: ../token}", "not a name for a secret"),
        ("secrets: API_KEY", "must be a mapping"),
        ("env: {A: x}\nsecrets: [A]", "is in `env` and in `secrets`"),
        ("sandbox: {netwrok: true}", "network"),
        ("sandbox: yes please", "must be a mapping"),
        ("sandbox: {read: [models]}", "not an absolute path"),
        ("sandbox: {read: [/srv/../root]}", "not an absolute path"),
    ],
)
def test_what_cannot_be_asked_for(text: str, found: str):
    """Each is told with its line, and nothing is guessed."""
    assert found in violation(text)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", None),
        ("sandbox: false", None),
        ("sandbox: true", Sandbox()),
        ("sandbox: {network: true}", Sandbox(network=True)),
        ("sandbox: {read: [/srv/models]}", Sandbox(read=("/srv/models",))),
    ],
)
@pytest.mark.parametrize("policy", SandboxPolicy)
def test_the_operator_decides_about_sandboxes(tmp_path: Path, text: str, asked: Sandbox | None, policy: SandboxPolicy):
    """By itself an entry gets what its manifest asks for; `off` gives none, `require` gives one to all."""
    expected = {
        SandboxPolicy.OFF: None,
        SandboxPolicy.AUTO: asked,
        SandboxPolicy.REQUIRE: asked or Sandbox(),
    }
    assert plan(tmp_path, text, Provisions(sandbox=policy)).sandbox == expected[policy]


def test_a_sandbox_that_cannot_be_made_refuses_the_job(tmp_path: Path):
    """Where it is asked for and there is none, the job is refused with the reason; other jobs are not."""
    missing = Provisions(no_sandbox="bubblewrap is not installed")
    with pytest.raises(InvalidJobError, match=r"line 6, steps.*must run in a sandbox.*bubblewrap is not installed"):
        plan(tmp_path, "sandbox: true", missing)
    assert plan(tmp_path, "sandbox: false", missing).sandbox is None


def test_a_missing_secret_refuses_the_job(tmp_path: Path):
    """It is a violation at the entry's module that names the secret and how to store it."""
    with pytest.raises(InvalidJobError, match=r"line 6, .*needs the secret 'api\.key'.*jobd secret set api\.key"):
        plan(tmp_path, "secrets: {KEY: api.key}", Provisions(secrets=frozenset({"other"})))


def test_a_plan_names_secrets_and_holds_no_value(tmp_path: Path):
    """What travels to the runner, and is written to disk, is the name."""
    found = plan(tmp_path, "secrets: {KEY: api.key}", Provisions(secrets=frozenset({"api.key"})))
    assert found.secrets == {"KEY": "api.key"}


def plan(folder: Path, text: str, provisions: Provisions) -> PlanEntry:
    """Plan a job of one entry that runs a module with this in its manifest."""
    (folder / "probe").mkdir(exist_ok=True)
    (folder / "probe/manifest.yaml").write_text(MANIFEST + text)
    (folder / "probe/main.py").write_text("")
    modules = Catalog((folder,)).scan().modules
    return make_plan(JOB, modules, Capacity(cpus=1), provisions=provisions).steps[0].entries[0]


def test_an_explanation_tells_how_an_entry_is_held():
    """It says whether there is a sandbox, who enforces each limit, and which secrets are given, by variable."""
    entry = PlanEntry(
        step="s", name="e", module="m", folder="/m", entrypoint="main.py",
        resources=Resources(memory=1000), secrets={"KEY": "api"}, sandbox=Sandbox(network=True), output_limit=7,
    )  # fmt: skip
    both = frozenset({"memory", "pids"})
    text = Bounds(user="media", controllers=both, processes=5, open_files=9).describe(entry)
    assert text == (
        "it runs as the user media in a sandbox with the network; 1000 bytes of memory for all its processes together, "
        "by cgroup; 5 processes, by cgroup; 9 open files in a process, by rlimit; 7 bytes of outputs, each file by "
        "rlimit; it is given KEY from the operator's secrets"
    )
    bare = Bounds(processes=5, open_files=9).describe(entry.model_copy(update={"sandbox": None, "secrets": {}}))
    assert bare.startswith("it runs without a sandbox; 1000 bytes of memory for each of its processes, by rlimit; any ")
