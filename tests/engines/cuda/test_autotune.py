"""The race between plans, with clocks that are made up."""

from dataclasses import replace

import pytest

from longconv_audio.engines.cuda import autotune
from longconv_audio.planning import candidates, device_named

PLANS = candidates(1, 2, 200_000, 5000, device=device_named("h200"))[:3]
DEVICE = "NVIDIA H200 13.0"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(autotune, "_winners", {})
    return tmp_path / "longconv-audio" / "autotune"


class Race:
    """Plans that take times that are given, in seconds, or fail where they are None."""

    def __init__(self, *times):
        self.times = dict(zip([id(plan) for plan in PLANS], times, strict=True))
        self.ran, self.clock = [], 0.0

    def run(self, plan):
        self.ran.append(plan)
        if self.times[id(plan)] is None:
            raise RuntimeError("no memory")
        self.clock += self.times[id(plan)]

    def seconds(self, call):
        before = self.clock
        call()
        return self.clock - before

    def fastest(self, plans=PLANS, device=DEVICE):
        return autotune.fastest(plans, self.run, device, self.seconds)


@pytest.mark.parametrize("winner", range(3))
def test_the_fastest_wins_whatever_was_predicted(winner):
    race = Race(*(0.5 if i == winner else 1.0 for i in range(3)))
    assert race.fastest() is PLANS[winner]
    assert race.ran == PLANS


def test_what_won_is_remembered_here_and_in_other_processes(folder):
    assert Race(3.0, 1.0, 2.0).fastest() is PLANS[1]
    assert len([*folder.iterdir()]) == 1
    for _ in range(2):  # the second time from the file
        later = Race(1.0, 2.0, 3.0)
        assert later.fastest() is PLANS[1]
        assert not later.ran
        autotune._winners.clear()


@pytest.mark.parametrize(
    "other",
    [
        {"device": "NVIDIA H200 13.2"},
        {"plans": PLANS[:2]},
        {"plans": [replace(p, convolution=replace(p.convolution, batch=2)) for p in PLANS]},
    ],
    ids=["driver", "candidates", "geometry"],
)
def test_another_race(other, folder):
    assert Race(3.0, 1.0, 2.0).fastest() is PLANS[1]
    race = Race(1.0, 2.0, 3.0)
    race.times |= dict(zip([id(plan) for plan in other.get("plans", PLANS)], (1.0, 2.0, 3.0), strict=False))
    race.fastest(**other)
    assert race.ran
    assert len([*folder.iterdir()]) == 2


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"nonsense", b'["fused", 1, [], 1, 1]', b"null"])
def test_damaged_entry_is_timed_anew(content, folder):
    Race(3.0, 1.0, 2.0).fastest()
    (entry,) = folder.iterdir()
    entry.write_bytes(content)
    autotune._winners.clear()
    assert Race(1.0, 2.0, 3.0).fastest() is PLANS[0]
    autotune._winners.clear()
    assert Race(3.0, 2.0, 1.0).fastest() is PLANS[0]


def test_a_plan_that_fails_is_out(folder):
    assert Race(None, 2.0, 1.0).fastest() is PLANS[2]


def test_where_every_plan_fails_the_failure_is_told(folder):
    with pytest.raises(RuntimeError, match="no memory"):
        Race(None, None, None).fastest()
    assert not folder.exists()


def test_without_a_place_the_process_remembers(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Race(3.0, 1.0, 2.0).fastest() is PLANS[1]
    later = Race(1.0, 2.0, 3.0)
    assert later.fastest() is PLANS[1]
    assert not later.ran


def test_no_race_while_a_graph_is_captured(monkeypatch):
    monkeypatch.setattr(autotune, "_capturing", lambda: True)
    assert autotune.fastest(PLANS, None, DEVICE) is PLANS[0]
    assert Race(3.0, 1.0, 2.0).fastest() is PLANS[1]
