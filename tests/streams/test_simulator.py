"""The simulated fleet: reproducible, ordered, and silent about who is who."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

from models.decode import Decoder, Origin
from models.errors import ConfigError
from models.hashing import KeyedHash
from models.sketch import Sketcher, SketchParameters
from models.strings import Strings
from streams.simulator.accounts import EPOCH
from streams.simulator.campaign import Knobs
from streams.simulator.populations import POPULATIONS
from streams.simulator.ragged import Fragments, Ragged, beside, placed, rendered, rows_of
from streams.simulator.scenarios import SCENARIOS, Scenario
from streams.simulator.simulation import Options, Simulation
from streams.simulator.slices import to_events
from streams.simulator.templates import Templates
from streams.simulator.text import Library
from tests.streams.simulated import lines_of, two


def digest(run: Simulation) -> str:
    total = hashlib.sha256()
    for part in run.slices():
        total.update(part.lines())
    total.update(run.truth().encode())
    return total.hexdigest()


class TestRagged:
    def test_rows_join_and_keep_their_places(self) -> None:
        fragments = Fragments()
        a, b, c = (fragments.add(text) for text in ("alpha ", "βeta ", "中"))
        left, right = rows_of([[a], [], [b, c]]), rows_of([[c], [a, a], []])
        assert list(rendered(fragments, beside(left, right))) == ["alpha 中", "alpha alpha ", "βeta 中"]
        spread = placed(4, [(np.array([3, 1]), rows_of([[a], [b]]))])
        assert list(rendered(fragments, spread)) == ["", "βeta ", "", "alpha "]
        assert list(rendered(fragments, left.take(np.array([2, 0, 2])))) == ["βeta 中", "alpha ", "βeta 中"]
        assert list(rendered(fragments, left.group(np.array([2, 1])))) == ["alpha ", "βeta 中"]

    def test_compiled_and_plain_rendering_agree(self, monkeypatch: pytest.MonkeyPatch) -> None:
        library = Library(3)
        rng = np.random.default_rng(1)
        texts = library.items(rng, rng.integers(3, size=50))
        compiled = list(rendered(library.fragments, texts))
        monkeypatch.setattr("streams.simulator.ragged.COMPILED", False)
        assert list(rendered(library.fragments, texts)) == compiled


class TestTemplates:
    def test_slots_are_filled_in_order_and_literals_kept(self) -> None:
        fragments = Fragments()
        templates = Templates.parse(fragments, ["Rate {{answer_a}} against {{answer_b}}!", "none", "{{x}}"])
        items = rows_of([[fragments.add(str(number))] for number in range(3)])
        filled = templates.assemble(np.array([2, 0, 1]), items)
        assert list(rendered(fragments, filled)) == ["0", "Rate 1 against 2!", "none"]

    def test_every_family_gives_distinct_templates_with_slots(self) -> None:
        library = Library(1)
        rng = np.random.default_rng(2)
        for name in library.family_names():
            templates = library.campaign(rng, 30, [name])
            assert templates.slots.min() >= 1, name
            texts = templates.assemble(
                np.arange(30), Ragged(np.zeros(0, np.int32), np.zeros(templates.slots.sum(), int))
            )
            assert len(set(rendered(library.fragments, texts))) == 30, name


class TestStream:
    def test_same_seed_same_bytes_other_seed_other_bytes(self) -> None:
        first, again, other = (
            digest(Simulation("framing", Options(seed=seed, scale=0.05, days=0.8))) for seed in (7, 7, 8)
        )
        assert first == again
        assert first != other

    def test_events_are_in_time_order_inside_the_run_with_ids_of_their_own(self) -> None:
        run, lines = two()
        stamps = [line["ts"] for line in lines]
        assert stamps == sorted(stamps)
        assert stamps[0] >= EPOCH
        assert stamps[-1] < run.end
        assert len({line["event_id"] for line in lines}) == len(lines)

    def test_turns_count_up_within_a_conversation(self) -> None:
        _, lines = two()
        turns: dict[str, list[int]] = {}
        for line in lines:
            if line["status"] == 200 and "conversation_id" in line:
                turns.setdefault(line["conversation_id"], []).append(line["turn"])
        assert max(map(len, turns.values())) > 3
        assert all(found == sorted(found) for found in turns.values())

    def test_columns_equal_what_decoding_the_lines_gives(self) -> None:
        keyed = KeyedHash(b"k" * 16)
        decoder = Decoder(keyed)
        run = Simulation("framing", Options(scale=0.05, days=0.7))
        for part in run.slices():
            decoded = decoder.decode(part.lines().splitlines(), Origin("t", 0, 0))
            assert not decoded.rejects
            assert not decoded.unknown
            events = to_events(part, keyed)
            for field in fields(events):
                mine, theirs = getattr(events, field.name), getattr(decoded.batch, field.name)
                if isinstance(mine, Strings):
                    assert list(mine) == list(theirs), field.name
                elif isinstance(mine, np.ndarray):
                    assert mine.dtype == theirs.dtype, field.name
                    assert np.array_equal(mine, theirs), field.name


class TestTruth:
    def test_counts_are_those_of_the_events(self) -> None:
        run, lines = two()
        truth = run.truth()
        sent = Counter(line["account_id"] for line in lines)
        assert truth.events == len(lines)
        assert [campaign.name for campaign in truth.campaigns] == ["campaign_1", "campaign_2"]
        for campaign in truth.campaigns:
            assert campaign.requests > 100
            assert {m.account_id: m.requests + m.cover for m in campaign.members} == {
                name: sent[name] for name in campaign.accounts
            }
            own = [line["ts"] for line in lines if line["account_id"] in set(campaign.accounts)]
            assert (min(own), max(own) + 1) == (campaign.start, campaign.end)
        assert truth.benign_accounts + sum(len(c.accounts) for c in truth.campaigns) == sum(truth.populations.values())

    def test_it_is_one_json_object(self) -> None:
        run, _ = two()
        truth = json.loads(run.truth().encode())
        assert truth["scenario"] == "two"
        assert set(truth["campaigns"][0]["members"][0]) == {"account_id", "pool", "requests", "cover"}

    def test_no_field_tells_who_is_who(self) -> None:
        run, lines = two()
        names = {name for campaign in run.truth().campaigns for name in campaign.accounts}
        mine = [line for line in lines if line["account_id"] in names]
        rest = [line for line in lines if line["account_id"] not in names]
        words = [*run.truth().populations, "campaign", "benign", "decoy"]
        outside = [{name: value for name, value in line.items() if name not in ("prompt", "system")} for line in lines]
        text = json.dumps(outside)
        assert not [word for word in words if f'"{word}"' in text]
        assert {name for line in mine for name in line} <= {name for line in rest for name in line}
        for name in ("account_id", "event_id", "conversation_id", "payment_id", "org_id"):
            assert {len(line[name]) for line in lines if name in line} == {16}, name
            if name in ("payment_id", "org_id"):
                continue  # a handful of values in a campaign that shares them: their ranks say nothing
            values = np.array([int(line[name], 16) for line in lines if name in line], np.float64) / 2.0**64
            is_mine = np.array([line["account_id"] in names for line in lines if name in line])
            assert 0.35 < np.unique(values[is_mine]).mean() < 0.65, name

    def test_fields_are_missing_as_often_in_campaigns_as_elsewhere(self) -> None:
        run = Simulation(
            Scenario("s", "", (Knobs(accounts=4000, start_h=0),), benign_accounts=4000), Options(days=0.01)
        )
        campaign = run.labels == len(run.population) - 1
        for bit in range(8):
            absent = (run.accounts.absent >> bit) & 1
            assert abs(absent[campaign].mean() - absent[~campaign].mean()) < 0.03


class TestFleet:
    def test_calm_holds_every_population_and_no_campaign(self) -> None:
        run = Simulation("calm", Options(scale=0.05, days=0.2))
        assert run.truth().campaigns == []
        assert set(run.truth().populations) == {population.name for population in POPULATIONS}

    def test_populations_can_be_held_out(self) -> None:
        options = Options(scale=0.05, days=0.1, without=("framework", "cron"))
        left = set(Simulation("calm", options).truth().populations)
        assert left == {population.name for population in POPULATIONS} - {"framework", "cron"}
        with pytest.raises(ConfigError, match="no population nobody"):
            Simulation("calm", Options(without=("nobody",)))

    def test_scale_multiplies_campaign_and_fleet(self) -> None:
        small, large = (Simulation("letter", Options(scale=scale)) for scale in (0.01, 0.04))
        assert [len(run.truth().campaigns[0].accounts) for run in (small, large)] == [250, 1000]
        assert large.truth().benign_accounts / small.truth().benign_accounts == pytest.approx(4, rel=0.1)
        assert small.days == 2.0
        assert "2 days" in small.note()
        assert SCENARIOS["letter"].scaled(1).campaigns[0].accounts == 25_000

    def test_letter_is_the_letter_and_about_a_tenth_of_its_fleet(self) -> None:
        (knobs,) = SCENARIOS["letter"].campaigns
        days = SCENARIOS["letter"].days - knobs.start_h / 24
        assert knobs.accounts * knobs.requests_per_day * days == pytest.approx(28.8e6, rel=0.001)
        run = Simulation("letter", Options(scale=0.01, days=2.0))
        parts = list(run.slices())
        (campaign,) = run.truth().campaigns
        benign = sum(map(len, parts)) - campaign.requests
        assert benign / 2 / (campaign.requests / 1.5) == pytest.approx(10, rel=0.25)

    def test_customers_are_uneven_bursty_and_follow_the_day(self) -> None:
        run = Simulation("calm", Options(scale=0.1, days=1.0))
        counts = np.zeros(len(run.accounts), np.int64)
        hours = []
        for part in run.slices():
            counts += np.bincount(part.account, minlength=len(counts))
            hours.append(len(part))
        sent = counts[run.labels == run.population.index("people")]
        assert sent.var() / sent.mean() > 5
        assert min(hours) < 0.6 * max(hours)

    def test_strangers_rarely_say_the_same(self) -> None:
        run = Simulation("calm", Options(scale=0.1, days=1.0))
        keyed = KeyedHash(b"k" * 16)
        sketcher = Sketcher(b"s" * 16, SketchParameters(edge_words=0))
        people = run.population.index("people")
        keys, rows, customers, events = [], [], [], 0
        for part in run.slices():
            batch = to_events(part, keyed)
            batch = batch.take(np.flatnonzero(run.labels[part.account] == people))
            sketches = sketcher.sketch(batch.prompt)
            count = np.diff(sketches.key_offsets)
            keys.append(sketches.keys)
            customers.append(np.repeat(batch.customer, count))
            rows.append(np.repeat(np.arange(events, events + len(batch)), count))
            events += len(batch)
        pairs = np.unique(np.stack([np.concatenate(keys), np.concatenate(customers)]), axis=1)
        found, holders = np.unique(pairs[0], return_counts=True)
        hot = np.isin(np.concatenate(keys), found[holders >= 8])
        covered = np.bincount(np.concatenate(rows)[hot], minlength=events) >= 2
        assert events > 3000
        assert covered.mean() < 0.03  # the laboratory's people: 0.01

    def test_retry_storms_repeat_failed_requests_word_for_word(self) -> None:
        run = Simulation("calm", Options(scale=0.3, days=0.5))
        storms = {
            f"{run.accounts.name[i]:016x}" for i in np.flatnonzero(run.labels == run.population.index("retry_storm"))
        }
        tries: dict[tuple[str, str], list[int]] = {}
        for line in lines_of(run):
            if line["account_id"] in storms:
                tries.setdefault((line["account_id"], line["prompt"]), []).append(line["status"])
        repeated = [statuses for statuses in tries.values() if len(statuses) > 3]
        assert len(repeated) > 5
        assert all(statuses[0] != 200 for statuses in repeated)

    def test_one_organisation_has_one_name_and_firms_have_their_own(self) -> None:
        run = Simulation("calm", Options(scale=0.3, days=0.1))
        orgs = {name: run.accounts.org[run.labels == run.population.index(name)] for name in ("enterprise", "support")}
        assert len(set(orgs["enterprise"].tolist())) == 1
        assert len(set(orgs["support"].tolist())) >= 5
