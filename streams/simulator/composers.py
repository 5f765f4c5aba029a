"""What groups of honest accounts say: organic talk, shared frames, viral prompts, item lists.

What lives here: composers, one per way of speaking. What does not: who speaks so and when (``fleet``, ``groups``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.simulator.accounts import EPOCH, HOUR_MS
from streams.simulator.groups import Events
from streams.simulator.ragged import Ragged, Rows, placed
from streams.simulator.templates import Templates
from streams.simulator.text import CODED, DETAILED, ENGLISH, PASTED, SHORT, Asked, Library

FOREIGN_SHARE = 0.2
WAVE_H = 30.0
"""A viral prompt begins to go round within so many hours of the run's start."""


class People:
    """Honest persons: each keeps a language and a habit of short, detailed, pasted or code prompts."""

    tools = False

    def __init__(
        self, library: Library, size: int, rng: np.random.Generator, *, pasted: float = 0.08, coded: float = 0.12
    ) -> None:
        self._library = library
        tongue = (library.tongues * rng.random(size) ** 1.7).astype(np.int64)
        self._tongue = np.where(rng.random(size) < FOREIGN_SHARE, tongue, ENGLISH)
        detailed = 0.35
        shares = np.array([max(0.0, 1 - detailed - pasted - coded), detailed, pasted, coded])
        self._habit = np.cumsum(rng.dirichlet(shares * 2.5 + 0.02, size), axis=1)

    def compose(self, rng: np.random.Generator, events: Events, members: Rows) -> tuple[Ragged, Rows]:
        """One organic prompt an event."""
        drawn = rng.random((len(members), 1))
        kind = np.array([SHORT, DETAILED, PASTED, CODED])[np.minimum((drawn > self._habit[members]).sum(axis=1), 3)]
        asked = Asked(events.topic % self._library.topics, events.turn, kind, self._tongue[members])
        return self._library.people(rng, asked), np.zeros(len(members), np.int64)


class Framed:
    """Accounts that put their texts into shared templates, for ``share`` of their events.

    ``own`` holds the template numbers each account uses, shape ``(accounts, templates each)``.
    """

    tools = False

    def __init__(
        self, library: Library, templates: Templates, own: Rows, rng: np.random.Generator, *, share: float = 1.0
    ) -> None:
        self._library = library
        self._templates = templates
        self._own = own
        self._share = share
        self._people = People(library, len(own), rng)

    def compose(self, rng: np.random.Generator, events: Events, members: Rows) -> tuple[Ragged, Rows]:
        """Framed prompts, the rest organic."""
        n = len(members)
        framed = rng.random(n) < self._share
        rows, rest = np.flatnonzero(framed), np.flatnonzero(~framed)
        which = self._own[members[rows], rng.integers(self._own.shape[1], size=len(rows))]
        texts = self._templates.fill(rng, which, self._library.asks)
        organic, _ = self._people.compose(rng, events.take(rest), members[rest])
        return placed(n, [(rows, texts), (rest, organic)]), np.zeros(n, np.int64)


class Viral:
    """People who also try a prompt that goes round: a few uses each, popular templates far more than others."""

    tools = False

    def __init__(
        self, library: Library, templates: Templates, size: int, rng: np.random.Generator, *,
        uses_max: int = 1, items: Ragged | None = None,
    ) -> None:  # fmt: skip
        self.templates = templates
        self._library = library
        self._people = People(library, size, rng)
        self._uses = np.minimum(rng.zipf(1.6, size), uses_max)
        self._items = items
        self._begins = EPOCH + int(rng.uniform(0, WAVE_H) * HOUR_MS)

    def compose(self, rng: np.random.Generator, events: Events, members: Rows) -> tuple[Ragged, Rows]:
        """Organic prompts, with the viral ones among the first turns."""
        n = len(members)
        texts, system = self._people.compose(rng, events, members)
        open_to_it = (events.turn == 1) & (events.ts >= self._begins) & (self._uses[members] > 0)
        first = np.flatnonzero(open_to_it & (rng.random(n) < 0.6))
        _, once = np.unique(members[first], return_index=True)
        rows = first[np.sort(once)]
        self._uses[members[rows]] -= 1
        which = (len(self.templates) * rng.random(len(rows)) ** 3).astype(np.int64)
        viral = self.templates.fill(rng, which, self._slots)
        rest = np.setdiff1d(np.arange(n), rows)
        return placed(n, [(rest, texts.take(rest)), (rows, viral)]), system

    def _slots(self, rng: np.random.Generator, kinds: Rows) -> Ragged:
        """Zipf slots: most people fill in what everybody fills in."""
        fresh = self._library.asks(rng, kinds)
        if self._items is None:
            return fresh
        popular = (len(self._items) * rng.random(len(kinds)) ** 3).astype(np.int64)
        common = np.flatnonzero(rng.random(len(kinds)) < 0.6)
        own = np.setdiff1d(np.arange(len(kinds)), common)
        return placed(len(kinds), [(common, self._items.take(popular[common])), (own, fresh.take(own))])


class Product:
    """Users of agent products: a product's system text above organic (or list-like) user texts."""

    def __init__(
        self,
        library: Library,
        systems: Rows,
        size: int,
        rng: np.random.Generator,
        *,
        tools: bool = True,
        coded: float = 0.4,
    ) -> None:
        self.tools = tools
        self._people = People(library, size, rng, coded=coded)
        self._system: npt.NDArray[np.int64] = systems[(len(systems) * rng.random(size) ** 2).astype(np.int64)]

    def compose(self, rng: np.random.Generator, events: Events, members: Rows) -> tuple[Ragged, Rows]:
        """Organic user texts with the product's system number."""
        texts, _ = self._people.compose(rng, events, members)
        return texts, self._system[members]


class ItemList:
    """Everybody runs through the same finite list, in order, from the start of each session."""

    tools = False

    def __init__(self, prompts: Ragged) -> None:
        self._prompts = prompts

    def compose(self, rng: np.random.Generator, events: Events, members: Rows) -> tuple[Ragged, Rows]:
        """The prompt at the session's position."""
        return self._prompts.take(events.position % len(self._prompts)), np.zeros(len(members), np.int64)
