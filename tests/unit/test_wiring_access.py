"""The API keys of a leader that is put together of the real parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.adapters.database import SqlStore
from controller.adapters.database.keys import SqlKeys
from controller.adapters.telemetry import Telemetry
from controller.core.access import ENTROPY_BYTES, Grant, issue, record
from controller.core.errors import LostLease
from controller.core.quota import TokenLimits
from controller.wiring import Place, claim, lead, standing_by
from tests.fakes.clock import START
from tests.unit.wiring_place import place_in


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path)


def test_a_key_that_the_api_makes_is_in_the_file_of_nginx_after_a_tick(place: Place) -> None:
    leader = lead(place, claim(place), Telemetry())
    key = issue(Grant("ci", "gold"), bytes(ENTROPY_BYTES), START)
    leader.sources.keys.add_key(key)
    leader.ticker.run()

    found = json.loads((place.layout.gateway / "access/keys.json").read_text())
    assert found["keys"] == {key.digest: record(key)}
    assert (leader.sources.access().usable, leader.sources.access().counted) == (1, True)
    leader.close()
    store = SqlStore(place.layout.database)
    assert SqlKeys(store).list_keys() == (key,)
    store.close()


def test_what_keys_can_be_made_for(place: Place) -> None:
    leader = lead(place, claim(place), Telemetry())
    offer = leader.sources.offer

    assert offer.plans == {"gold": TokenLimits(per_day=1000), "free": TokenLimits()}
    assert (offer.models, offer.most_keys) == ({"small": "small", "tiny": "small"}, 2000)
    leader.close()


def test_what_is_counted_is_saved_before_the_lead_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    taken = claim(place)
    monkeypatch.setattr("controller.reconcile.tick.Ticker.close", lambda ticker: told.append("saved"))
    monkeypatch.setattr("controller.wiring.Claim.release", lambda claim: told.append("released"))
    lead(place, taken, Telemetry()).close()

    assert told == ["saved", "released"]


def test_what_stands_by_has_no_keys_to_tell_of(place: Place) -> None:
    sources = standing_by(place, Telemetry(), lambda: "stands by; another leads")

    with pytest.raises(LostLease, match="stands by"):
        sources.keys.find_keys(limit=1)
    assert sources.access().usable == 0
