"""The text grammar: word classes with Zipf-like use, patterns with slots, drawn for thousands of rows at once.

What lives here: drawing sentences as fragment numbers. What does not: the words, the patterns, who says what. Rank
r of a class of size s is drawn with density proportional to r^(1/SKEW - 1): the head of each class is common, its
tail rare, as in real vocabularies. Measured on 5,000 simulated people with word-5 keys: see tests of the simulator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streams.simulator import languages, phrases, vocabulary
from streams.simulator.ragged import EMPTY, Fragments, Ragged, Rows, masked

SKEW = 1.4
NAMES_PER_CLASS = 2500
VARIANTS = 60
"""Expansions kept of each pattern that holds phrases."""
_SLOT = re.compile(r"\{([a-z])\}")
_PHRASE = re.compile(r"\{([A-Z])\}")
_EVEN = "ksbyi"
_TOPICAL = "n"
Matrix = npt.NDArray[np.int32]


class PatternSet:
    """Parsed patterns: a padded matrix of codes, shape ``(patterns, width)``, and how likely each row is.

    A code >= 0 is a fragment; -1 is padding; -2 - c asks for a word of class c.
    """

    def __init__(self, codes: Matrix, weights: npt.NDArray[np.float64]) -> None:
        self.codes = codes
        self.cumulative = np.cumsum(weights) / weights.sum()


class Grammar:
    """Word classes over a fragment table, and drawing of whole rows of text from pattern sets."""

    def __init__(self, fragments: Fragments, rng: np.random.Generator) -> None:
        self.fragments = fragments
        self._class: dict[str, int] = {}
        self._first: list[int] = []
        self._size: list[int] = []
        self._skew: list[float] = []
        self._table: tuple[Rows, Rows, npt.NDArray[np.float64]] | None = None
        self.topics = len(vocabulary.TOPICS)
        self._topic_first = np.zeros(self.topics, np.int64)
        self._topic_size = np.zeros(self.topics, np.int64)
        self._rng = rng
        self._enter_words(rng)
        self.words = self._enter_spaced(rng)
        self.sets = {
            "question": self.patterns(phrases.QUESTIONS),
            "detail": self.patterns(phrases.DETAILS),
            "follow_up": self.patterns(phrases.FOLLOW_UPS),
            "paste": self.patterns(phrases.PASTE_REQUESTS),
            "prose": self.patterns(phrases.PROSE),
            "code_request": self.patterns(phrases.CODE_REQUESTS),
            "code": self.patterns(phrases.CODE),
        }
        sets = [self._language(language, rng).codes for language in languages.LANGUAGES]
        width = max(codes.shape[1] for codes in sets)
        padded = [np.pad(codes, ((0, 0), (0, width - codes.shape[1])), constant_values=-1) for codes in sets]
        self._tongue_codes: Matrix = np.concatenate(padded)
        self._tongue_size = np.array([len(codes) for codes in sets])
        self._tongue_first = np.cumsum(self._tongue_size) - self._tongue_size

    def patterns(self, texts: Sequence[str]) -> PatternSet:
        """Parse pattern texts; a pattern with phrases is entered as many random expansions that share its weight."""
        rows: list[list[int]] = []
        weights: list[float] = []
        for text in texts:
            count = VARIANTS if _PHRASE.search(text) else 1
            rows.extend(self._codes(self._expanded(text)) for _ in range(count))
            weights.extend([1.0 / count] * count)
        matrix = np.full((len(rows), max(map(len, rows))), -1, np.int32)
        for index, row in enumerate(rows):
            matrix[index, : len(row)] = row
        return PatternSet(matrix, np.array(weights))

    def draw(self, rng: np.random.Generator, patterns: PatternSet | str, topics: Rows) -> Ragged:
        """One text a row; the {n} and {m} slots of row ``i`` speak of topic ``topics[i]``."""
        if not len(topics):
            return EMPTY
        chosen = self.sets[patterns] if isinstance(patterns, str) else patterns
        return self._filled(rng, chosen.codes[np.searchsorted(chosen.cumulative, rng.random(len(topics)))], topics)

    def _filled(self, rng: np.random.Generator, codes: Matrix, topics: Rows) -> Ragged:
        """Words in place of class codes; ``codes`` has a row per topic and is overwritten."""
        first_of, size_of, skew_of = self._classes()
        row, column = np.nonzero(codes < -1)
        classes = -2 - codes[row, column]
        first, size = first_of[classes], size_of[classes]
        topical = classes == self._class[_TOPICAL]
        first[topical] = self._topic_first[topics[row[topical]]]
        size[topical] = self._topic_size[topics[row[topical]]]
        codes[row, column] = first + (size * rng.random(len(row)) ** skew_of[classes]).astype(np.int64)
        return masked(codes)

    def _classes(self) -> tuple[Rows, Rows, npt.NDArray[np.float64]]:
        """First word, size and skew of each class as arrays, kept until a class is added."""
        if self._table is None or len(self._table[0]) != len(self._first):
            self._table = (np.array(self._first), np.array(self._size), np.array(self._skew))
        return self._table

    def passage(self, rng: np.random.Generator, kind: str, topics: Rows, sizes: Rows) -> Ragged:
        """Row ``i``: ``sizes[i]`` texts of ``kind`` on topic ``topics[i]``, run together."""
        return self.draw(rng, kind, np.repeat(topics, sizes)).group(sizes)

    def foreign(self, rng: np.random.Generator, tongues: Rows, topics: Rows) -> Ragged:
        """One text a row in language ``tongues[i]`` (an index into ``languages.LANGUAGES``)."""
        if not len(topics):
            return EMPTY
        row = self._tongue_first[tongues] + (self._tongue_size[tongues] * rng.random(len(tongues))).astype(np.int64)
        return self._filled(rng, self._tongue_codes[row], topics)

    def _expanded(self, text: str) -> str:
        """``text`` with a random choice for each of its phrases, and for the phrases in those."""
        while _PHRASE.search(text):
            text = _PHRASE.sub(self._alternative, text)
        return text

    def _alternative(self, match: re.Match[str]) -> str:
        choices = phrases.PHRASES[match[1]]
        return choices[int(self._rng.integers(len(choices)))]

    def _codes(self, text: str) -> list[int]:
        codes = []
        for index, piece in enumerate(_SLOT.split(text)):
            if index % 2:
                codes.append(-2 - self._class["n" if piece == "m" else piece])
            elif piece:
                codes.append(self.fragments.add(piece))
        return codes

    def _enter(self, name: str, words: Sequence[str], skew: float = SKEW) -> None:
        first, size = self.fragments.add_range(words)
        self._class[name] = len(self._first)
        self._first.append(first)
        self._size.append(size)
        self._skew.append(1.0 if name in _EVEN else skew)

    def _enter_words(self, rng: np.random.Generator) -> None:
        nouns = [vocabulary.listed(text) for text in vocabulary.TOPICS.values()]
        first = len(self.fragments)
        self._enter("n", [word for topic in nouns for word in rng.permutation(topic)])
        self._topic_size[:] = [len(topic) for topic in nouns]
        self._topic_first[:] = first + np.cumsum(self._topic_size) - self._topic_size
        self._enter("o", list(rng.permutation([word for topic in nouns for word in topic])))
        shared = (vocabulary.VERBS, vocabulary.ADJECTIVES, vocabulary.QUALIFIERS, vocabulary.PLACES)
        linking = (vocabulary.DETERMINERS, vocabulary.PREPOSITIONS, vocabulary.CONJUNCTIONS, vocabulary.AUXILIARIES)
        for name, words in zip("vaqlptdrjx", (*shared, vocabulary.PEOPLE, vocabulary.TIMES, *linking), strict=True):
            self._enter(name, list(rng.permutation(words)))
        self._enter("k", [str(number) for number in range(2, 1200)])
        for name in "sby":
            self._enter(name, invented_names(rng, NAMES_PER_CLASS))
        plain = [word.replace(" ", "_").replace("-", "_") for topic in nouns for word in topic]
        pairs = zip(rng.choice(vocabulary.VERBS, 4000), rng.choice(plain, 4000), strict=True)
        self._enter("i", [f"{verb}_{noun}" if index % 3 else noun for index, (verb, noun) in enumerate(pairs)])

    def _enter_spaced(self, rng: np.random.Generator) -> tuple[int, int]:
        """Single words with spaces around them, for edits that swap or add words: (first, how many)."""
        nouns = {word.split()[-1] for text in vocabulary.TOPICS.values() for word in vocabulary.listed(text)}
        words = sorted(nouns | set(vocabulary.VERBS) | set(vocabulary.ADJECTIVES) | set(vocabulary.QUALIFIERS))
        words += [name.lower() for name in invented_names(rng, 1000)]
        return self.fragments.add_range([f" {word} " for word in rng.permutation(words)])

    def _language(self, language: languages.Language, rng: np.random.Generator) -> PatternSet:
        def split(text: str) -> list[str]:
            return list(rng.permutation(vocabulary.listed(text, "|" if "|" in text else " ")))

        known = dict(self._class)
        self._enter("n_" + language.code, split(language.nouns), 1.0)
        self._enter("v", split(language.verbs), 1.0)
        self._enter("a", split(language.adjectives), 1.0)
        self._enter("c", split(language.closings), 1.0)
        self._class.update(n=self._class["n_" + language.code], o=self._class["n_" + language.code])
        if language.code in ("zh", "ja"):
            self._enter("s", characters(rng, language.nouns, NAMES_PER_CLASS))
            self._enter("y", characters(rng, language.nouns, NAMES_PER_CLASS))
        patterns = self.patterns(language.patterns)
        self._class = known
        return patterns


def characters(rng: np.random.Generator, text: str, count: int) -> list[str]:
    """Names for scripts without spaces: two characters out of ``text``."""
    known = sorted({character for character in text if ord(character) > 0x2E7F})
    return ["".join(pair) for pair in rng.choice(known, (count, 2))]


def invented_names(rng: np.random.Generator, count: int) -> list[str]:
    """Capitalised names of two or three syllables that belong to nobody."""
    parts = [
        rng.choice(vocabulary.ONSETS, count),
        rng.choice(vocabulary.VOWELS, count),
        rng.choice(vocabulary.CODAS, count),
    ]
    ends = rng.choice(vocabulary.ENDINGS, count)
    return ["".join(syllables).capitalize() for syllables in zip(*parts, ends, strict=True)]
