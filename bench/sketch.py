"""How many prompts a second one core turns into signatures, keys and index entries, beside datasketch and rensa.

What lives here: the texts, the stopwatch and the gates. CPU time of one thread, best of several runs, since other
programs on the machine only ever add to it. Returns non-zero below ``GATE_PER_SECOND``, with or without the index.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from datasketch import MinHash

from bench.figures import Figure, report
from models.compiled import COMPILED
from models.fanin import FanIn
from models.sighting import SIGHTING, SightingBatch
from models.sketch import Sketcher, Sketches
from models.strings import Strings

GATE_PER_SECOND = 200_000
CHARACTERS = 400
BATCH = 1024
INDEX_KEYS = 4_000_000  # known before: about an hour of the letter's fleet
INDEX_BATCHES = 48
START_MS = 1_780_000_000_000
PEER_PROMPTS = 128  # the peers are slow enough for a short run
SECONDS = 0.5  # per figure

SUBJECTS = "the teacher,a small company,our neighbour,the new engine,every student,the city council,this algorithm"
VERBS = "explains,describes,compares,measures,rewrites,remembers,improves,checks,summarises,questions,translates"
OBJECTS = "the history of trade,a list of numbers,the second chapter,an old recipe,the water supply,several answers"
TAILS = "in simple words,before the meeting,with three examples,for a young reader,without any jargon,as a table"
CHINESE = "请用简单的话,说明,这篇文章,主要内容,历史,为什么,学生,老师,认为,问题,然后,给出,三个例子,比较,方法,城市"
NAMES = "value,total,index,result,item,count,left,right,node,path,query,batch"
CODE = (
    "def {a}({b}, {c}):\n    return {b} + {c}\n",
    "for {a} in range({n}):\n    {b}.append({a} * {c})\n",
    "if {a} is None:\n    raise ValueError('{b} of {c} is missing')\n",
    "class {A}:\n    {b}: int = {n}\n    {c}: str = ''\n",
)


def english(rng: random.Random) -> str:
    """One prompt of plain sentences."""
    parts = [group.split(",") for group in (SUBJECTS, VERBS, OBJECTS, TAILS)]
    return _fill(lambda: " ".join(rng.choice(part) for part in parts).capitalize() + ". ")


def chinese(rng: random.Random) -> str:
    """One prompt of Chinese phrases."""
    return _fill(lambda: "".join(rng.choices(CHINESE.split(","), k=8)) + "。")


def code(rng: random.Random) -> str:
    """One prompt of Python statements."""
    names = NAMES.split(",")

    def statement() -> str:
        a, b, c = rng.sample(names, 3)
        return rng.choice(CODE).format(a=a, b=b, c=c, A=a.title(), n=rng.randrange(1000))

    return _fill(statement)


def _fill(sentence: Callable[[], str]) -> str:
    text = ""
    while len(text) < CHARACTERS:
        text += sentence()
    return text[:CHARACTERS]


def corpora(directory: Path | None) -> Iterator[tuple[str, list[str]]]:
    """Name and prompts of every kind of text: built in, and one per file of ``directory``."""
    for make in (english, chinese, code):
        rng = random.Random(make.__name__)
        yield f"{make.__name__} {CHARACTERS}", [make(rng) for _ in range(BATCH)]
    for path in sorted(directory.glob("*.jsonl.gz")) if directory else ():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line, _ in zip(lines, range(50 * BATCH), strict=False)]
        yield path.name.removesuffix(".jsonl.gz"), random.Random(0).choices(texts, k=BATCH)


def per_second(work: Callable[[], object], prompts: int) -> float:
    """Prompts per second of CPU time, best of the runs that fit ``SECONDS``, after one to warm up."""
    work()
    best, end = float("inf"), time.monotonic() + SECONDS
    while time.monotonic() < end or best == float("inf"):
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
    return prompts / best


def shingle(text: str) -> list[str]:
    """Word-3 shingles as a user of datasketch or rensa makes them."""
    tokens = re.findall(r"[a-z0-9_]+|[^\W\d_]", text.lower())
    return [" ".join(tokens[at : at + 3]) for at in range(max(len(tokens) - 2, 1))]


def with_datasketch(texts: Sequence[str]) -> None:
    """Text to signature by ``MinHash.bulk``."""
    MinHash.bulk([[item.encode() for item in shingle(text)] for text in texts], num_perm=64)


def with_rensa(texts: Sequence[str]) -> None:
    """Text to signature by rensa's fastest bulk form."""
    from rensa import RMinHash

    RMinHash.digest_matrix_from_token_sets([shingle(text) for text in texts], 64, 1)


def peers() -> Iterator[tuple[str, Callable[[Sequence[str]], None]]]:
    """The peers that are installed."""
    yield "datasketch", with_datasketch
    try:
        import rensa  # noqa: F401
    except ImportError:
        return
    yield "rensa", with_rensa


def measure(texts: list[str]) -> dict[str, float]:
    """Prompts per second for one kind of text, by what was measured."""
    sketcher, numpy_only = Sketcher(b"bench"), Sketcher(b"bench", compiled=False)
    column = Strings.of(texts)
    sample = texts[:PEER_PROMPTS]
    figures = {"signature+keys": per_second(lambda: sketcher.sketch(column), len(texts))}
    figures["from str"] = per_second(lambda: sketcher.sketch(Strings.of(texts)), len(texts))
    figures["numpy form"] = per_second(lambda: numpy_only.sketch(column), len(texts))
    for name, work in peers():
        figures[name] = per_second(lambda work=work: work(sample), len(sample))
    return figures


def natural(prompts: int) -> list[str]:
    """Prompts of words in natural frequencies: as in real traffic few passages are in two of them, templates' alone."""
    rng = random.Random("natural")
    syllables = [first + second for first in "bdfgklmnprstvz" for second in ("a", "e", "i", "o", "u", "an", "er", "is")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(20_000)]
    bounds = list(accumulate(1 / rank for rank in range(2, 20_002)))

    def phrase(length: int) -> str:
        return " ".join(rng.choices(words, cum_weights=bounds, k=length))

    templates = [phrase(20) + " " for _ in range(50)]
    texts = (rng.choice(templates) * (rng.random() < 0.1) + phrase(CHARACTERS // 4) for _ in range(prompts))
    return [text[:CHARACTERS] for text in texts]


def sighted(sketches: Sketches, first: int) -> SightingBatch:
    """The sightings of sketched prompts, each of a customer of its own."""
    rows = np.zeros(len(sketches), SIGHTING)
    rows["event"] = rows["account"] = rows["customer"] = np.arange(first, first + len(rows), dtype=np.uint64) << 24
    rows["at"] = rows["ts"] = START_MS + 10 * np.arange(first, first + len(rows))
    return SightingBatch(rows, sketches.keys, sketches.key_offsets)


def indexed() -> tuple[float, float, float]:
    """Prompts per second from text into the index of a busy fleet; keys a prompt; share of keys of one customer."""
    sketcher, fanin, rng = Sketcher(b"bench"), FanIn(), np.random.default_rng(1)
    width = INDEX_KEYS // 64
    for first in range(-64, 0):  # keys of the hours before
        rows = np.zeros(width // 16, SIGHTING)
        rows["at"] = rows["ts"] = START_MS + first
        rows["event"] = rows["customer"] = rng.integers(1, 1 << 63, len(rows), dtype=np.uint64)
        keys = rng.integers(1, 1 << 63, width, dtype=np.uint64)
        fanin.process(SightingBatch(rows, keys, np.arange(0, width + 1, 16)))
        fanin.advance(START_MS + first + 1)
    texts = natural(INDEX_BATCHES * BATCH)
    columns = [Strings.of(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
    spent: list[float] = []
    seen = []
    for number, column in enumerate(columns):
        start = time.thread_time()
        batch = sighted(sketcher.sketch(column), number * BATCH)
        fanin.process(batch)
        fanin.advance(int(batch.rows["at"][-1]) + 1)
        spent.append(time.thread_time() - start)
        seen.append(batch.keys)
    half = sorted(spent[INDEX_BATCHES // 4 :])[: INDEX_BATCHES // 2]  # without the batches that others disturbed
    keys = np.concatenate(seen)
    return len(half) * BATCH / sum(half), len(keys) / len(texts), 1 - len(fanin.warm) / len(np.unique(keys))


def figures() -> list[Figure]:
    """The gated figures, with the peers of the same run."""
    texts = natural(BATCH)
    column, sketcher, sample = Strings.of(texts), Sketcher(b"bench"), texts[:PEER_PROMPTS]
    beside = {name: per_second(lambda work=work: work(sample), len(sample)) for name, work in peers()}
    peer = ", ".join(f"{name} {rate:,.0f}/s" for name, rate in beside.items()) + " (signatures only)"
    alone = per_second(lambda: sketcher.sketch(column), len(texts))
    rate, keys, single = indexed()
    setting = (
        f"{CHARACTERS} characters, batches of {BATCH}, {keys:.1f} keys a prompt, {single:.1%} of them of one customer, "
        f"into {INDEX_KEYS:,} keys known; the faster half of {INDEX_BATCHES} batches"
    )
    return [
        Figure("text to signatures and template keys", alone, "prompts/s", GATE_PER_SECOND, peer=peer),
        Figure("text to signatures, keys and index", rate, "prompts/s", GATE_PER_SECOND, peer=peer, setting=setting),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table by kind of text, then the gated figures; 1 below a mark."""
    parser = argparse.ArgumentParser(prog="python -m bench.sketch", description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="also measure the texts of every .jsonl.gz in DIR")
    options = parser.parse_args(arguments)
    print(f"prompts per second and core, batches of {BATCH}, {'compiled' if COMPILED else 'NOT compiled'}")
    for name, texts in corpora(options.corpus):
        print(f"{name:24}", *(f"{key} {value:>9,.0f}  " for key, value in measure(texts).items()))
    return report(figures())


if __name__ == "__main__":
    sys.exit(main())
