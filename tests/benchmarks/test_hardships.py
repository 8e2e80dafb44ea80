"""The siege and the kills in their smallest form: that they measure, and would see a loss."""

from __future__ import annotations

import pytest

from benchmarks.kills import Killer, Kills, killed
from benchmarks.siege import FEW, besieged

pytestmark = pytest.mark.wire


@pytest.mark.timeout(120)
async def test_a_short_siege_measures_the_honest_key_and_health() -> None:
    said: list[str] = []
    siege = await besieged(6, said.append, FEW)
    assert siege.lost == 0
    assert siege.turns >= 1
    assert siege.health.samples >= 1
    assert siege.server_mb > 20
    assert {"flood", "idle", "kill"} & set(siege.attacks)
    assert "honest turns" in siege.as_text()
    assert said


@pytest.mark.timeout(180)
async def test_a_few_kills_lose_nothing_and_leave_nothing() -> None:
    found = await killed(4, lambda text: None)
    assert found.servers_killed + found.processes_killed >= 2
    assert found.none_wrong, found.as_text()


@pytest.mark.parametrize(
    ("stored", "lost", "doubled"),
    [
        ([("a", "1"), ("b", "2")], 0, 0),
        ([("a", "1"), ("b", "2"), ("c", "3")], 0, 0),  # its answer was lost on the way
        ([("a", "1")], 2, 0),
        ([("a", "1"), ("a", "1"), ("b", "2")], 1, 1),
        ([("b", "2"), ("a", "1")], 1, 0),
    ],
)
def test_a_lost_or_doubled_turn_is_seen(
    stored: list[tuple[str, str]], lost: int, doubled: int
) -> None:
    killer = Killer({}, None, None, print, port=1)  # type: ignore[arg-type]  # only compares
    killer._compare([("a", "1"), ("b", "2")], stored)
    assert (killer.found.lost, killer.found.doubled) == (lost, doubled)
    assert killer.found.none_wrong is (lost == doubled == 0)
    assert Kills().none_wrong
