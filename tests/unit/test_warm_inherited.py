"""What a fork of a warm interpreter takes for its own: all that it imported, and nothing that was there before."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from jobd import warm_entry
from jobd.warm_entry import Inherited


@pytest.fixture
def imported(monkeypatch):
    """The modules of an interpreter that has three."""
    modules = {name: ModuleType(name) for name in ("one", "two", "three")}
    monkeypatch.setattr(warm_entry, "sys", SimpleNamespace(modules=modules))
    assert sys.modules is not modules
    return modules


def test_nothing_is_its_own_at_first(imported):
    """A fork that imports nothing must let go of nothing."""
    inherited = Inherited()
    imported["one"] = ModuleType("one")  # as __main__ is, in its place
    assert inherited.later() == []


def test_what_was_imported_since_comes_latest_first(imported):
    """Modules are ended in the order in which an interpreter ends them."""
    inherited = Inherited()
    imported |= {"four": ModuleType("four"), "five": ModuleType("five")}
    assert inherited.later() == ["five", "four"]


@pytest.mark.parametrize("gone", ["one", "three"])
def test_one_that_took_anothers_place_is_seen(imported, gone):
    """As many modules as before are not the same modules."""
    inherited = Inherited()
    del imported[gone]
    imported["four"] = ModuleType("four")
    assert inherited.later() == ["four"]


def test_a_library_that_is_imported_anew_is_no_reason_to_overlook_others(imported):
    """The last one may be there again, as another."""
    inherited = Inherited()
    del imported["one"], imported["three"]
    imported |= {"four": ModuleType("four"), "three": ModuleType("three")}
    assert inherited.later() == ["four"]
