"""The library of texts: what people ask, what campaigns send, what strangers share, from the project's own grammar.

What lives here: one interface over all texts of a run, each drawn for many rows at once. What does not: who sends
which (``fleet``, ``campaign``); texts of a corpus folder (``corpus``, same interface).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.simulator import families
from streams.simulator.grammar import Grammar
from streams.simulator.languages import LANGUAGES
from streams.simulator.ragged import Fragments, Ragged, Rows, beside, blank, placed, rendered, repeated, singles
from streams.simulator.shared import SHARED
from streams.simulator.templates import ANSWER, CODE, Templates, compose

ENGLISH = -1
SHORT, DETAILED, PASTED, CODED = 0, 1, 2, 3
"""Kinds of organic prompt."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted of each of ``n`` organic prompts; arrays of shape ``(n,)``."""

    topic: Rows
    turn: Rows
    kind: Rows
    tongue: Rows  # ENGLISH or an index into languages.LANGUAGES

    def take(self, rows: Rows) -> Asked:
        """The entries at ``rows``."""
        return Asked(self.topic[rows], self.turn[rows], self.kind[rows], self.tongue[rows])


class Library:
    """All texts of one run, deterministic in the generators handed in."""

    def __init__(self, seed: int) -> None:
        self.fragments = Fragments()
        self.grammar = Grammar(self.fragments, np.random.default_rng([seed, 1]))
        self.topics = self.grammar.topics
        self.tongues = len(LANGUAGES)
        self.systems: list[str] = [""]
        self._line = self.fragments.add("\n")
        self.gap = self.fragments.add("\n\n")
        self.space = self.fragments.add(" ")

    def people(self, rng: np.random.Generator, asked: Asked) -> Ragged:
        """One prompt of an honest person a row."""
        n = len(asked.topic)
        foreign = np.flatnonzero(asked.tongue != ENGLISH)
        later = np.flatnonzero((asked.tongue == ENGLISH) & (asked.turn > 1) & (rng.random(n) < 0.75))
        kind = asked.kind.copy()
        kind[later] = -1
        kind[foreign] = -1
        choices = [(foreign, self._foreign(rng, asked.take(foreign)))]
        choices.append((later, self.grammar.draw(rng, "follow_up", asked.topic[later])))
        for which, make in (
            (SHORT, self._short),
            (DETAILED, self._detailed),
            (PASTED, self._pasted),
            (CODED, self._coded),
        ):
            rows = np.flatnonzero(kind == which)
            if len(rows):
                choices.append((rows, make(rng, asked.topic[rows])))
        return placed(n, choices)

    def items(self, rng: np.random.Generator, kinds: Rows) -> Ragged:
        """Texts for template slots: questions and tasks, answers, code."""
        topics = rng.integers(self.topics, size=len(kinds))
        plain = np.flatnonzero((kinds != ANSWER) & (kinds != CODE))
        long = np.flatnonzero(kinds == ANSWER)
        code = np.flatnonzero(kinds == CODE)
        return placed(
            len(kinds),
            [
                (plain, self._task(rng, topics[plain])),
                (long, self.grammar.passage(rng, "prose", topics[long], 2 + rng.geometric(0.4, len(long)))),
                (code, self.grammar.passage(rng, "code", topics[code], 2 + rng.geometric(0.4, len(code)))),
            ],
        )

    def campaign(self, rng: np.random.Generator, count: int, wanted: list[str]) -> Templates:
        """``count`` templates of the named campaign families, in turn."""
        chosen = [family for family in families.CAMPAIGN if family.name in wanted]
        share = [len(range(index, count, len(chosen))) for index in range(len(chosen))]
        texts = [text for family, size in zip(chosen, share, strict=True) for text in compose(rng, family, size)]
        return Templates.parse(self.fragments, [texts[index] for index in rng.permutation(len(texts))])

    def asks(self, rng: np.random.Generator, kinds: Rows) -> Ragged:
        """What honest people put into shared templates."""
        return self.items(rng, kinds)

    def exam(self, rng: np.random.Generator, count: int) -> Ragged:
        """A finite list of test prompts that everybody runs word for word."""
        return self.shared(rng, "harness", 1).fill(rng, np.zeros(count, np.int64), self.asks)

    def words_of(self, texts: Ragged) -> list[str]:
        """The rows as Python strings."""
        return list(rendered(self.fragments, texts))

    def family_names(self) -> list[str]:
        """The campaign families there are."""
        return [family.name for family in families.CAMPAIGN]

    def shared(self, rng: np.random.Generator, kind: str, count: int) -> Templates:
        """``count`` templates of a kind that honest strangers share: see ``shared.SHARED``."""
        return Templates.parse(self.fragments, compose(rng, SHARED[kind], count))

    def systems_of(self, rng: np.random.Generator, count: int) -> Rows:
        """Numbers of ``count`` new system texts of agent products; ``systems`` holds the texts."""
        texts = self.system_texts(rng, count)
        self.systems.extend(texts)
        return np.arange(len(self.systems) - len(texts), len(self.systems))

    def system_texts(self, rng: np.random.Generator, count: int) -> list[str]:
        """System texts of ``count`` agent products."""
        return compose(rng, SHARED["agent"], count)

    def salt(self, rng: np.random.Generator, n: int) -> Ragged:
        """``n`` random runs of 3 to 12 words, no two alike."""
        first, size = self.grammar.words
        counts = rng.integers(3, 13, n)
        return Ragged((first + rng.integers(size, size=int(counts.sum()))).astype(np.int32), counts)

    def _short(self, rng: np.random.Generator, topics: Rows) -> Ragged:
        return self.grammar.draw(rng, "question", topics)

    def _task(self, rng: np.random.Generator, topics: Rows) -> Ragged:
        n = len(topics)
        details = np.minimum(rng.geometric(0.5, n) - 1, 4)
        space = repeated([self.space], int(details.sum()))
        more = self.grammar.draw(rng, "detail", np.repeat(topics, details))
        return beside(self.grammar.draw(rng, "question", topics), beside(space, more).group(details))

    def _detailed(self, rng: np.random.Generator, topics: Rows) -> Ragged:
        n = len(topics)
        before = np.minimum(rng.geometric(0.6, n) - 1, 2)
        after = rng.geometric(0.45, n)
        space = singles(np.full(n, self.space))
        return beside(
            self._spaced(rng, topics, before), self._short(rng, topics), space, self._spaced(rng, topics, after)
        )

    def _spaced(self, rng: np.random.Generator, topics: Rows, sizes: Rows) -> Ragged:
        texts = self.grammar.draw(rng, "detail", np.repeat(topics, sizes))
        return beside(texts, repeated([self.space], len(texts))).group(sizes)

    def _pasted(self, rng: np.random.Generator, topics: Rows) -> Ragged:
        n = len(topics)
        sizes = np.minimum(np.exp(rng.normal(2.3, 0.8, n)).astype(np.int64) + 2, 120)
        body = self.grammar.passage(rng, "prose", topics, sizes)
        return beside(self.grammar.draw(rng, "paste", topics), singles(np.full(n, self.gap)), body)

    def _coded(self, rng: np.random.Generator, topics: Rows) -> Ragged:
        n = len(topics)
        sizes = np.minimum(rng.geometric(0.15, n) + 2, 60)
        body = self.grammar.passage(rng, "code", topics, sizes)
        return beside(self.grammar.draw(rng, "code_request", topics), singles(np.full(n, self._line)), body)

    def _foreign(self, rng: np.random.Generator, asked: Asked) -> Ragged:
        n = len(asked.topic)
        sizes = np.where(asked.kind == SHORT, 1, np.minimum(rng.geometric(0.4, n) + 1, 12))
        texts = self.grammar.foreign(rng, np.repeat(asked.tongue, sizes), np.repeat(asked.topic, sizes))
        return beside(texts, repeated([self.space], len(texts))).group(sizes) if n else blank(0)
