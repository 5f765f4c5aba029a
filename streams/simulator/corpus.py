"""Texts of a corpus folder behind the interface of ``text.Library``.

What lives here: reading the folder (gzipped JSON lines: ``benign``, ``attack_items``, ``attack_templates``,
``hard_negative_items``, ``hard_negative_templates``) and drawing from it. What does not: what the corpus lacks,
long documents and code among it, which still comes from the grammar. A fold holds a part of the folder that shares
no template family, exercise or text with the others, so that rules fitted on one are judged on another.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from models.errors import ConfigError
from streams.simulator.languages import LANGUAGES
from streams.simulator.ragged import Ragged, Rows, beside, placed, repeated, rows_of, singles
from streams.simulator.templates import ANSWER, CODE, Templates, word_numbers
from streams.simulator.text import ENGLISH, Asked, Library

VARIATION = 0.2
"""Share of words people's texts have of their own: without it a folder of 100,000 texts would be sent word for word by
dozens of strangers a day, which strangers do not do."""
_FOLLOW_UP_KINDS = ("chat_message", "app_dialogue_turn")
_SHARED_KINDS = {
    "viral": ("viral_prompt",),
    "library": ("app_template",),
    "agent": ("agent_prompt", "assistant_role"),
    "gateway": ("assistant_role",),
    "starter": ("assistant_role",),
    "harness": ("eval_harness_template",),
}
_ROWS_MIN = 8


class Record(msgspec.Struct):
    """One text of the corpus."""

    text: str
    lang: str
    kind: str
    group: str = ""
    source: str = ""
    slots: list[str] = msgspec.field(default_factory=list)

    @property
    def unit(self) -> str:
        """What folds must not split: the group where there is one, else the text."""
        return self.group or self.text


@dataclass(frozen=True, slots=True)
class Fold:
    """Part ``index`` of ``count`` of the folder."""

    index: int = 0
    count: int = 1

    def holds(self, unit: str) -> bool:
        """Whether texts of ``unit`` belong to this part."""
        return zlib.crc32(unit.encode()) % self.count == self.index


class CorpusLibrary(Library):
    """A library over the folder ``path``.

    Raises:
        ConfigError: a file is missing or unreadable.
    """

    def __init__(self, seed: int, path: str, fold: Fold | None = None) -> None:
        super().__init__(seed)
        self._fold = fold or Fold()
        self._folder = Path(path)
        rng = np.random.default_rng([seed, 2])
        benign = [record for record in self._read("benign") if self._fold.holds(record.text)]
        self._first = self._by_language([record for record in benign if record.kind not in _FOLLOW_UP_KINDS], rng)
        self._later = self._by_language([record for record in benign if record.kind in _FOLLOW_UP_KINDS], rng)
        self._tasks = self._pool(
            [record.text for record in self._read("attack_items") if self._fold.holds(record.text)], rng
        )
        self._next_task = 0
        hard = [record for record in self._read("hard_negative_items") if self._fold.holds(record.unit)]
        self._exam = [record.text for record in hard if record.kind == "eval_item"]
        self._exercises = [record.text for record in hard if record.kind == "course_exercise"]
        self._shared_texts = [
            record for record in self._read("hard_negative_templates") if self._fold.holds(record.text)
        ]
        self._attack = [record for record in self._read("attack_templates") if self._fold.holds(record.group)]

    def people(self, rng: np.random.Generator, asked: Asked) -> Ragged:
        """People's own words from the corpus; pasted documents and code behind them from the grammar."""
        n = len(asked.topic)
        english = asked.tongue == ENGLISH
        later = np.flatnonzero(english & (asked.turn > 1))
        first = np.flatnonzero(english & (asked.turn <= 1))
        choices = [
            (later, self._drawn(rng, self._later["en"], len(later))),
            (first, self._opening(rng, asked.take(first))),
        ]
        for tongue in np.unique(asked.tongue[~english]):
            rows = np.flatnonzero(asked.tongue == tongue)
            pool = self._first.get(LANGUAGES[int(tongue)].code)
            known = self._drawn(rng, pool, len(rows)) if pool is not None else self._foreign(rng, asked.take(rows))
            choices.append((rows, known))
        return placed(n, choices)

    def items(self, rng: np.random.Generator, kinds: Rows) -> Ragged:
        """Attack items one after another, so that a campaign repeats none before all are used."""
        plain = np.flatnonzero((kinds != ANSWER) & (kinds != CODE))
        rest = np.flatnonzero((kinds == ANSWER) | (kinds == CODE))
        taken = (self._next_task + np.arange(len(plain))) % len(self._tasks)
        self._next_task = (self._next_task + len(plain)) % len(self._tasks)
        return placed(len(kinds), [(plain, self._tasks.take(taken)), (rest, super().items(rng, kinds[rest]))])

    def asks(self, rng: np.random.Generator, kinds: Rows) -> Ragged:
        """What honest people put into shared templates."""
        plain = np.flatnonzero((kinds != ANSWER) & (kinds != CODE))
        rest = np.flatnonzero((kinds == ANSWER) | (kinds == CODE))
        texts = self._drawn(rng, self._first["en"], len(plain))
        return placed(len(kinds), [(plain, texts), (rest, super().items(rng, kinds[rest]))])

    def family_names(self) -> list[str]:
        """Template families of the fold."""
        return sorted({record.group for record in self._attack})

    def campaign(self, rng: np.random.Generator, count: int, wanted: list[str]) -> Templates:
        """Templates of the named families; beyond what there is, the same frames for other domains."""
        known = [_with_slot(record) for record in self._attack if record.group in wanted]
        order = rng.permutation(len(known))
        texts = [known[order[index % len(known)]] for index in range(count)]
        extra = max(0, count - len(known))
        if extra:
            briefs = self._briefs(rng, extra)
            texts[len(known) :] = [f"{brief}\n{text}" for brief, text in zip(briefs, texts[len(known) :], strict=True)]
        return Templates.parse(self.fragments, texts)

    def shared(self, rng: np.random.Generator, kind: str, count: int) -> Templates:
        """Hard-negative templates where the corpus has the kind, else the grammar's."""
        if kind == "exercise" and self._exercises:
            texts = [
                f"{self._exercises[index]}\n\n{{{{item}}}}" for index in rng.integers(len(self._exercises), size=count)
            ]
            return Templates.parse(self.fragments, texts)
        texts = [_with_slot(record) for record in self._shared_texts if record.kind in _SHARED_KINDS.get(kind, ())]
        if len(texts) < _ROWS_MIN:
            return super().shared(rng, kind, count)
        return Templates.parse(self.fragments, [texts[index] for index in rng.choice(len(texts), count)])

    def system_texts(self, rng: np.random.Generator, count: int) -> list[str]:
        """System prompts of agents and assistants."""
        texts = [record.text for record in self._shared_texts if record.kind in _SHARED_KINDS["agent"]]
        if len(texts) < _ROWS_MIN:
            return super().system_texts(rng, count)
        return [texts[index] for index in rng.choice(len(texts), count)]

    def exam(self, rng: np.random.Generator, count: int) -> Ragged:
        """Public benchmark questions in a harness's template."""
        if len(self._exam) < _ROWS_MIN:
            return super().exam(rng, count)
        texts = [self._exam[index] for index in rng.choice(len(self._exam), min(count, len(self._exam)), replace=False)]
        pool = rows_of(word_numbers(self.fragments, text) for text in texts)
        frame = Templates.parse(self.fragments, ["Q: {{item}}\nA:"])
        return frame.assemble(np.zeros(len(pool), np.int64), pool)

    def _opening(self, rng: np.random.Generator, asked: Asked) -> Ragged:
        """A first turn: one text or a few, a document or code after it where the kind says so."""
        n = len(asked.topic)
        sizes = np.where(asked.kind == 1, 1 + rng.geometric(0.6, n), 1)
        texts = self._drawn(rng, self._first["en"], int(sizes.sum()))
        texts = beside(texts, repeated([self.space], len(texts))).group(sizes)
        pasted, coded = np.flatnonzero(asked.kind == 2), np.flatnonzero(asked.kind == 3)
        document = self.grammar.passage(rng, "prose", asked.topic[pasted], 3 + rng.geometric(0.1, len(pasted)))
        code = self.grammar.passage(rng, "code", asked.topic[coded], 2 + rng.geometric(0.15, len(coded)))
        gaps = [singles(np.full(len(rows), self.gap)) for rows in (pasted, coded)]
        return beside(texts, placed(n, [(pasted, beside(gaps[0], document)), (coded, beside(gaps[1], code))]))

    def _drawn(self, rng: np.random.Generator, pool: Ragged, n: int) -> Ragged:
        """``n`` texts of a pool, a share of each text's words swapped for words of others in the same pool."""
        texts = pool.take(rng.integers(len(pool), size=n))
        swap = rng.random(len(texts.ids)) < VARIATION
        ids = texts.ids.copy()
        ids[swap] = rng.choice(pool.ids, int(swap.sum()))
        return Ragged(ids, texts.counts)

    def _by_language(self, records: list[Record], rng: np.random.Generator) -> dict[str, Ragged]:
        languages = {record.lang for record in records}
        texts = {lang: [record.text for record in records if record.lang == lang] for lang in sorted(languages)}
        pools = {lang: self._pool(found, rng) for lang, found in texts.items() if len(found) >= 100}
        if "en" not in pools:
            raise ConfigError(f"{self._folder / 'benign.jsonl.gz'} holds fewer than 100 English texts for this fold")
        return pools

    def _pool(self, texts: list[str], rng: np.random.Generator) -> Ragged:
        return rows_of(word_numbers(self.fragments, texts[index]) for index in rng.permutation(len(texts)))

    def _briefs(self, rng: np.random.Generator, count: int) -> list[str]:
        """Opening lines that turn one frame into many."""
        known = self.grammar.patterns(["Domain: {o}, {a}. Audience: {p}.", "Focus on {a} {o} and {o}, {q} {a}."])
        texts = self.grammar.draw(rng, known, rng.integers(self.topics, size=count))
        return self.words_of(texts)

    def _read(self, name: str) -> list[Record]:
        path = self._folder / f"{name}.jsonl.gz"
        try:
            with gzip.open(path) as file:
                return msgspec.json.Decoder(Record).decode_lines(file.read())
        except (OSError, EOFError, zlib.error, msgspec.DecodeError) as error:
            raise ConfigError(f"cannot read the corpus file {path}: {error}; check --corpus") from error


def _with_slot(record: Record) -> str:
    return record.text if "{{" in record.text and record.slots else f"{record.text}\n\n{{{{input}}}}"
