"""Random jobs: what is asked for, what it must make, and how it may end."""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One job of a schedule."""

    name: str
    document: bytes
    artifacts: Mapping[str, bytes]
    """What every artifact must hold."""
    public: frozenset[str]
    makers: Mapping[str, Key]
    """The entry that makes each artifact."""
    step_of: Mapping[Key, int]
    """The place of every entry's step."""
    doomed: bool
    """Whether an entry fails however often it is tried."""


@dataclass(slots=True)
class _Draft:
    steps: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    public: set[str] = field(default_factory=set)
    makers: dict[str, Key] = field(default_factory=dict)
    step_of: dict[Key, int] = field(default_factory=dict)
    doomed: bool = False


def draw(chance: random.Random, name: str, ledger: Path) -> Shape:
    """Draw a job of 1 to 4 steps of 1 to 8 entries."""
    draft = _Draft()
    earlier: list[str] = []
    for place in range(chance.choice((1, 2, 2, 3, 4))):
        entries = [
            _draw_entry(chance, draft, (place, number), earlier, ledger)
            for number in range(chance.choice((1, 1, 2, 2, 3, 4, 8)))
        ]
        draft.steps.append({"name": f"s{place}", "entries": entries})
        earlier += [entry["output_artifacts"][0]["name"] for entry in entries]
    return Shape(
        name=name,
        document=json.dumps({"name": name, "steps": draft.steps}).encode(),
        artifacts=draft.artifacts,
        public=frozenset(draft.public),
        makers=draft.makers,
        step_of=draft.step_of,
        doomed=draft.doomed,
    )


def _draw_entry(
    chance: random.Random, draft: _Draft, at: tuple[int, int], earlier: list[str], ledger: Path
) -> dict[str, Any]:
    place, number = at
    key, made = (f"s{place}", f"e{number}"), f"a{place}-{number}.bin"
    uses = chance.sample(earlier, k=min(len(earlier), chance.choice((0, 1, 1, 2, 4))))
    public = chance.random() < 0.5
    draft.artifacts[made] = content(key, [draft.artifacts[name] for name in uses])
    draft.makers[made], draft.step_of[key] = key, place
    draft.public |= {made} if public else set()
    keys = _draw_life(chance)
    keys["params"] |= {"ledger": str(ledger)}
    draft.doomed = draft.doomed or keys["params"].get("fate", "well") != "well"
    inputs = [{"name": name, "param_name": "input", "type": "data"} for name in uses]
    outputs = [{"name": made, "param_name": "output", "type": "data", "public": public}]
    return {"module": "fault", "name": key[1], "input_artifacts": inputs, "output_artifacts": outputs, **keys}


def _draw_life(chance: random.Random) -> dict[str, Any]:
    """Draw how a module lives: most end well, some in every other way there is."""
    params: dict[str, Any] = {"seconds": round(chance.uniform(0.05, 0.8), 3)}
    params["stubborn"], params["offspring"] = chance.random() < 0.15, chance.random() < 0.15
    keys: dict[str, Any] = {"params": params, "resources": {"cpus": chance.choice((1, 1, 1, 2))}}
    lot = chance.random()
    if lot < 0.08:
        params["failures"], keys["retries"] = 1, 2
    elif lot < 0.11:
        params["fate"] = "exit"
    elif lot < 0.13:
        params["fate"], keys["retries"] = "crash", chance.choice((0, 1))
    elif lot < 0.15:
        params["fate"], keys["timeout"] = "hang", 0.4
    return keys


def content(key: Key, inputs: list[bytes]) -> bytes:
    """Make what the module of an entry must have made."""
    body = "/".join(key).encode() + b"\n"
    body = body * 500 + b"".join(data[:64] for data in inputs)
    return hashlib.sha256(body).hexdigest().encode() + body
