"""Templates: frames with slots, many of them side by side, filled for thousands of requests at once.

What lives here: composing templates of a family, parsing template texts, filling slots. What does not: their
wording.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from streams.simulator import vocabulary
from streams.simulator.families import Family
from streams.simulator.grammar import invented_names
from streams.simulator.ragged import EMPTY, Fragments, Ragged, Rows, rows_of, stacked

ITEM, ANSWER, CODE = 0, 1, 2
Items = Callable[[np.random.Generator, Rows], Ragged]
"""Draws one text per entry of an array of slot kinds (ITEM, ANSWER, CODE)."""

_SLOT = re.compile(r"\{\{(\w+)\}\}")
_LETTER = re.compile(r"\{([a-z])\}")
_WORD = re.compile(r"[⺀-鿿가-힯]|[^\s⺀-鿿가-힯]+\s*|\s+")
_ANSWERS = re.compile(r"answer|output|completion|response|context|text|document|passage|essay|generation|reply|result")
_RULE_MARKS = ("- {}\n", "{} ", "* {}\n", "{}\n")


def word_numbers(fragments: Fragments, text: str) -> list[int]:
    """``text`` as fragment numbers, a word (with the space behind it) or an unspaced character each."""
    return [fragments.add(word) for word in _WORD.findall(text)]


class Templates:
    """``n`` templates: literal pieces around slots, as rows of word fragments."""

    def __init__(self, pieces: Ragged, slots: Rows, kinds: Rows) -> None:
        self.pieces = pieces
        self.slots = slots
        self.kinds = kinds
        self._first_piece = np.cumsum(slots + 1) - (slots + 1)
        self._first_kind = np.cumsum(slots) - slots

    def __len__(self) -> int:
        return len(self.slots)

    @classmethod
    def parse(cls, fragments: Fragments, texts: Sequence[str]) -> Templates:
        """Split each text at its ``{{slots}}``; the slot's name says what fills it."""
        pieces: list[list[int]] = []
        slots: list[int] = []
        kinds: list[int] = []
        for text in texts:
            parts = _SLOT.split(text)
            pieces.extend(word_numbers(fragments, part) for part in parts[::2])
            kinds.extend(slot_kind(name) for name in parts[1::2])
            slots.append(len(parts) // 2)
        return cls(rows_of(pieces), np.array(slots, np.int64), np.array(kinds, np.int64))

    def take(self, rows: Rows) -> Templates:
        """The templates numbered ``rows``."""
        pieces = np.concatenate([np.zeros(0, np.int64), *(self._pieces_of(int(row)) for row in rows)])
        kinds = [self.kinds[self._first_kind[row] : self._first_kind[row] + self.slots[row]] for row in rows]
        return Templates(self.pieces.take(pieces), self.slots[rows], np.concatenate([np.zeros(0, np.int64), *kinds]))

    def variants(self, rng: np.random.Generator, count: int, words: tuple[int, int], *, share: float) -> Templates:
        """``count`` copies of all templates, one set after another, each with ``share`` of its words changed."""
        copies = self.take(np.tile(np.arange(len(self)), count))
        return Templates(reworded(rng, copies.pieces, share, words), copies.slots, copies.kinds)

    def fill(self, rng: np.random.Generator, which: Rows, items: Items) -> Ragged:
        """One prompt a row: template ``which[i]`` with fresh items in its slots."""
        if not len(which):
            return EMPTY
        slots = self.slots[which]
        row = np.repeat(np.arange(len(which)), slots)
        index = np.arange(len(row)) - np.repeat(np.cumsum(slots) - slots, slots)
        drawn = items(rng, self.kinds[self._first_kind[which[row]] + index])
        return self.assemble(which, drawn)

    def assemble(self, which: Rows, drawn: Ragged) -> Ragged:
        """As ``fill``, with ``drawn`` holding the slots' texts row after row."""
        slots = self.slots[which]
        widths = 2 * slots + 1
        row = np.repeat(np.arange(len(which)), widths)
        index = np.arange(len(row)) - np.repeat(np.cumsum(widths) - widths, widths)
        first_drawn = np.cumsum(slots) - slots
        literal = self._first_piece[which[row]] + index // 2
        filled = len(self.pieces) + first_drawn[row] + index // 2
        order = np.where(index % 2 == 0, literal, filled)
        return stacked([self.pieces, drawn]).take(order).group(widths)

    def _pieces_of(self, row: int) -> Rows:
        return np.arange(self._first_piece[row], self._first_piece[row] + self.slots[row] + 1)


def slot_kind(name: str) -> int:
    """What fills a slot of this name."""
    if name.startswith("code") or name == "diff":
        return CODE
    return ANSWER if _ANSWERS.search(name) else ITEM


def compose(rng: np.random.Generator, family: Family, count: int) -> list[str]:
    """``count`` template texts of ``family``, distinct with near certainty."""
    nouns = [noun for topic in vocabulary.TOPICS.values() for noun in vocabulary.listed(topic)]
    names = invented_names(rng, 300)
    words: dict[str, Sequence[str]] = {
        "o": nouns, "v": vocabulary.VERBS, "a": vocabulary.ADJECTIVES, "q": vocabulary.QUALIFIERS, "s": names,
        "l": vocabulary.PLACES, "p": vocabulary.PEOPLE, "t": vocabulary.TIMES, "b": names, "y": names,
        "k": [str(number) for number in range(2, 60)],
    }  # fmt: skip

    def word(match: re.Match[str]) -> str:
        choices = words[match[1]]
        return choices[int(rng.integers(len(choices)))]

    return [_LETTER.sub(word, _skeleton(rng, family)).replace("~", "\n") for _ in range(count)]


def _skeleton(rng: np.random.Generator, family: Family) -> str:
    mark = _RULE_MARKS[int(rng.integers(len(_RULE_MARKS)))]
    few = int(rng.integers(family.rules_min, family.rules_max + 1))
    rules = "".join(mark.format(family.rules[index]) for index in rng.permutation(len(family.rules))[:few])
    opening = family.openings[int(rng.integers(len(family.openings)))]
    closing = family.closings[int(rng.integers(len(family.closings)))]
    return f"{opening}\n{rules}\n{closing}"


def reworded(
    rng: np.random.Generator, texts: Ragged, share: float | npt.NDArray[np.float64], words: tuple[int, int]
) -> Ragged:
    """Each fragment is swapped for a random word with probability ``share``; ``words`` is (first number, how many)."""
    swap = rng.random(len(texts.ids)) < share
    ids = texts.ids.copy()
    ids[swap] = words[0] + rng.integers(words[1], size=int(swap.sum()))
    return Ragged(ids, texts.counts)
