"""Each knob of a campaign does what it says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from streams.simulator.accounts import EPOCH, HOUR_MS
from streams.simulator.simulation import Options, Simulation
from tests.streams.simulated import Lines, alone, lines_of, of_campaign, two


class TestKnobs:
    def test_rate_is_near_the_knob(self) -> None:
        run, _ = alone()
        (campaign,) = run.truth().campaigns
        assert campaign.requests == pytest.approx(40 * 25 * 1.25, rel=0.12)
        assert campaign.start >= EPOCH + 6 * HOUR_MS
        assert campaign.cover == 0

    def test_round_robin_is_even_and_log_normal_load_is_not(self) -> None:
        def dispersion(run: Simulation) -> float:
            sent = np.array([member.requests for member in run.truth().campaigns[0].members])
            return float(sent.var() / sent.mean())

        assert dispersion(alone()[0]) < 1
        assert dispersion(alone(dispatch="lru")[0]) < 1
        assert dispersion(alone(load_spread=1.1)[0]) > 8

    def test_cover_share(self) -> None:
        (campaign,) = alone(cover=0.7, requests_per_day=40.0)[0].truth().campaigns
        assert campaign.cover / (campaign.cover + campaign.requests) == pytest.approx(0.7, abs=0.08)
        assert campaign.cover + campaign.requests == pytest.approx(40 * 40 * 1.25, rel=0.2)

    def test_fans_clients_and_ages(self) -> None:
        run, lines = alone(payment_fan=8, network_fan=10, one_client=True, young=True)
        mine = of_campaign(run, lines)
        fans: dict[str, set[str]] = {}
        for line in mine:
            fans.setdefault(line.get("payment_id", ""), set()).add(line["account_id"])
        assert max(len(found) for payment, found in fans.items() if payment) >= 5
        assert len(fans) <= 6
        assert len({line["client_ip"].rsplit(".", 1)[0] for line in mine if "client_ip" in line}) == 4
        assert len({line["user_agent"] for line in mine if "user_agent" in line}) == 1
        ages = [(line["ts"] - line["account_created"]) / HOUR_MS for line in mine if "account_created" in line]
        assert min(ages) > 0
        assert max(ages) < 48
        plain, others = alone()
        own = of_campaign(plain, others)
        assert len({line["payment_id"] for line in own if "payment_id" in line}) > 30

    def test_sticky_pins_a_template_to_one_account_and_hands_over(self) -> None:
        run, _ = alone(dispatch="sticky", templates=40, requests_per_day=100.0)
        held: dict[int, list[int]] = {}
        fresh = Simulation(run.scenario, run.options)
        for part in fresh.slices():
            campaign = np.isin(part.account, np.flatnonzero(fresh.labels == len(fresh.population) - 1))
            for account, topic in zip(part.account[campaign], part.batch.events.topic[campaign], strict=True):
                held.setdefault(int(topic), []).append(int(account))
        runs = [1 + int((np.diff(accounts) != 0).sum()) for accounts in held.values() if len(accounts) > 40]
        sizes = [len(accounts) for accounts in held.values() if len(accounts) > 40]
        assert sum(sizes) / sum(runs) > 2  # round robin would give 1
        assert min(runs) > 5

    def test_paraphrase_salt_and_reasoning_change_the_prompts(self) -> None:
        def shared_heads(**knobs: Any) -> float:
            run, lines = alone(**knobs)
            heads = Counter(" ".join(line["prompt"].split()[:8]) for line in of_campaign(run, lines))
            return sum(count for count in heads.values() if count >= 8) / sum(heads.values())

        assert shared_heads() > 0.9
        assert shared_heads(paraphrase=0.25) < 0.6
        assert shared_heads(salt=1.0) < 0.6
        run, lines = alone(reasoning=0.8)
        prompts = [line["prompt"].lower() for line in of_campaign(run, lines)]
        asked = sum("reasoning" in prompt or "step by step" in prompt or "推理" in prompt for prompt in prompts)
        assert asked / len(prompts) > 0.7

    def test_multi_turn_continues_conversations(self) -> None:
        run, lines = alone(multi_turn=0.6)
        turns = Counter(line["turn"] for line in of_campaign(run, lines))
        assert turns[2] / turns[1] == pytest.approx(0.6, abs=0.12)

    def test_duplicates_and_handoffs_repeat_a_prompt_on_another_account(self) -> None:
        run, lines = alone(duplicates=0.2, handoffs=0.1)
        mine = of_campaign(run, lines)
        holders: dict[str, set[str]] = {}
        for line in mine:
            holders.setdefault(line["prompt"], set()).add(line["account_id"])
        assert sum(len(found) > 1 for found in holders.values()) / len(holders) > 0.15
        limited = [line for line in mine if line["status"] == 429]
        assert sum(len(holders[line["prompt"]]) > 1 for line in limited) / len(limited) > 0.7

    def test_replaced_pool_stops_and_the_next_begins(self) -> None:
        run, lines = alone(replace_at_h=18.0, replace_gap_h=2.0, ban_over_h=1.0)
        pools: dict[int, list[int]] = {0: [], 1: []}
        number = {member.account_id: member.pool for member in run.truth().campaigns[0].members}
        for line in lines:
            if line["account_id"] in number:
                pools[number[line["account_id"]]].append(line["ts"])
        assert max(pools[0]) < EPOCH + 19 * HOUR_MS
        assert min(pools[1]) >= EPOCH + 20 * HOUR_MS
        assert min(len(pools[0]), len(pools[1])) > 300

    def test_pivot_ramp_human_hours_and_stagger(self) -> None:
        run, lines = alone(pivot_h=24.0)
        models = Counter(line["model"] for line in of_campaign(run, lines) if line["ts"] >= EPOCH + 24 * HOUR_MS)
        assert len(models) == 1
        run, lines = alone(ramp_h=24.0)
        early = sum(line["ts"] < EPOCH + 18 * HOUR_MS for line in of_campaign(run, lines))
        assert early / len(of_campaign(run, lines)) < 0.3
        run, lines = alone(human_hours=1.0)
        hours = np.bincount([(line["ts"] - EPOCH) // HOUR_MS for line in of_campaign(run, lines)], minlength=36)[6:30]
        assert hours.min() < 0.2 * hours.max()
        run, lines = alone(stagger_h=24.0)
        first: dict[str, int] = {}
        for line in of_campaign(run, lines):
            first.setdefault(line["account_id"], line["ts"])
        assert np.ptp(list(first.values())) > 15 * HOUR_MS

    def test_two_operators_share_no_template_unless_told(self) -> None:
        def heads(run: Simulation, lines: Lines, number: int) -> set[str]:
            found = Counter(" ".join(line["prompt"].split()[:8]) for line in of_campaign(run, lines, number))
            return {head for head, count in found.items() if count >= 4}

        run, lines = two()
        assert heads(run, lines, 0)
        assert not heads(run, lines, 0) & heads(run, lines, 1)
        shared = Simulation("two_shared", Options(scale=0.1, days=1.0))
        lines = lines_of(shared)
        assert heads(shared, lines, 0) & heads(shared, lines, 1)

    def test_framing_uses_campaign_templates_on_honest_accounts(self) -> None:
        run = Simulation("framing", Options(scale=0.3, days=1.2))
        lines = lines_of(run)
        names = {
            f"{name:016x}": run.population[label] for name, label in zip(run.accounts.name, run.labels, strict=True)
        }
        frames = Counter(" ".join(line["prompt"].split()[:8]) for line in of_campaign(run, lines))
        common = {head for head, count in frames.items() if count >= 8}
        uses = Counter(
            line["account_id"]
            for line in lines
            if names[line["account_id"]] == "decoy" and " ".join(line["prompt"].split()[:8]) in common
        )
        assert run.truth().populations["decoy"] == 120
        assert len(uses) > 80
        assert max(uses.values()) <= 4
        assert not set(uses) & set(run.truth().campaigns[0].accounts)
