# ruff: noqa: RUF001
"""Sketches against oracles: datasketch, a plain reading of the rules in Python sets, and the numpy form.

Then what they are for: templates found whatever is around them, and nothing to be gained without the secret.
"""

import random
import re

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigError
from models.hashing import KeyedHash
from models.reasoning import PHRASES, TAGS
from models.sketch import Sketcher, SketchParameters
from models.sketch_tokens import Secrets
from models.strings import Strings

SECRET = b"a secret of sixteen bytes or more"
COMPILED = Sketcher(SECRET)
PLAIN = Sketcher(SECRET, compiled=False)
VOCABULARY = """
    the of and to in is that for it as was with be by on not he this are or his from at which but have an had they
    you were their one all we can her has there been if more when will would who so no write explain model function
    river seven question answer list return value data school city history water music number table energy market
"""
WORDS = VOCABULARY.split()

ENGLISH = "You are a helpful tutor. Read the question below and write a clear answer with examples, in 3 parts."
CHINESE = "请阅读下面的文章，然后用自己的话总结主要内容，并给出三个例子。"
CODE = "def add(a: int, b: int) -> int:\n    return a + b  # sum\n\nfor i in range(10):\n    print(add(i, 2 ** i))\n"
ODD = [
    "", " ", "a", "a b", "a b c", "7", "7 8", "...", "é", "e\u0301", "Ａｂｃ", "\ufeffBOM", "x" * 8, "x" * 9, "x" * 64,
    "a" * 63 + " " + "b" * 65, "don't 'quote' “curly” — dash", "ไทยไม่มีช่องว่าง", "हिन्दी में लिखो", "Привет, МИР! Ёж",
    "emoji 🙂 inside 👍🏽 text", "한국어 문장을 쓰세요", "𠀀𠀁 rare", "tag\U000e0041s", "mixedтекст中文9", "1,234.5",
    ENGLISH, CHINESE, CODE, ENGLISH * 30, CHINESE * 200, "na " * 500, "\0\1\2", "_ __ _a", "<think>plan</think>",
]  # fmt: skip


def prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def assert_equal(left, right) -> None:
    for name, column in left.arrays().items():
        other = right.arrays()[name]
        assert column.dtype == other.dtype, name
        assert np.array_equal(column, other), name


def keys_of(sketches, row: int) -> set[int]:
    return set(sketches.keys[sketches.key_offsets[row] : sketches.key_offsets[row + 1]].tolist())


def assert_equals_datasketch(text: str) -> None:
    hashes = [int(value) for value in COMPILED.shingle_hashes(text)]
    oracle = MinHash(64, seed=COMPILED.permutation_seed, hashfunc=lambda value: value, scheme="affine32")
    if hashes:
        oracle.update_batch(hashes)
    assert np.array_equal(COMPILED.sketch(Strings.of([text])).signature[0], oracle.hashvalues)


texts = st.text(
    alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("ab cdE9_.<中é\u200b\u0301")), max_size=150
)


@pytest.mark.parametrize("text", [*ODD, ENGLISH * 300, CHINESE * 3000], ids=lambda text: f"{text[:8]!r}{len(text)}")
def test_signature_equals_datasketch(text):
    assert_equals_datasketch(text)


@settings(deadline=None)
@given(texts)
def test_signature_equals_datasketch_on_any_text(text):
    assert_equals_datasketch(text)


def test_both_forms_agree_on_chosen_texts():
    assert_equal(COMPILED.sketch(Strings.of(ODD)), PLAIN.sketch(Strings.of(ODD)))


@settings(deadline=None)
@given(st.lists(texts, max_size=6))
def test_both_forms_agree_on_any_text(batch):
    assert_equal(COMPILED.sketch(Strings.of(batch)), PLAIN.sketch(Strings.of(batch)))


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=100) | st.lists(st.sampled_from(b"ab \xc3\xa9\xe4\xb8\xf0\x9f\xff<"), max_size=60).map(bytes)
    )
)
def test_both_forms_agree_on_any_bytes(batch):
    assert_equal(COMPILED.sketch(Strings.of_bytes(batch)), PLAIN.sketch(Strings.of_bytes(batch)))


@pytest.mark.parametrize(
    "parameters",
    [
        SketchParameters(edge_words=0),
        SketchParameters(template_words=8, template_keys=4),
        SketchParameters(shingle_words=1, template_words=1, template_keys=1, edge_words=1),
        SketchParameters(permutations=128, bands=16, band_rows=8, edge_words=3),
        SketchParameters(text_bytes_max=64),
    ],
    ids=lambda parameters: f"{hash(parameters) & 0xFFFF:04x}",
)
def test_both_forms_agree_for_other_parameters(parameters):
    column = Strings.of([*ODD, *(prose(random.Random(seed), 20 * seed) for seed in range(10))])
    compiled, plain = (Sketcher(SECRET, parameters, compiled=choice).sketch(column) for choice in (True, False))
    assert_equal(compiled, plain)
    assert np.diff(compiled.key_offsets).max() <= parameters.template_keys + 4


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=8), st.data())
def test_a_batch_is_its_parts(batch, data):
    cut = data.draw(st.integers(0, len(batch)))
    whole = COMPILED.sketch(Strings.of(batch))
    parts = [COMPILED.sketch(Strings.of(part)) for part in (batch[:cut], batch[cut:])]
    assert_equal(whole, type(whole).concat(parts))
    column = Strings.of(batch)
    assert_equal(COMPILED.sketch(Strings(column.data, column.offsets[cut:])), parts[1])


@pytest.mark.parametrize("sketcher", [COMPILED, PLAIN])
def test_without_signatures_the_rest_is_the_same(sketcher):
    column = Strings.of(ODD)
    assert_equal(sketcher.sketch(column, signatures=False), sketcher.sketch(column).narrow())
    assert sketcher.sketch(column, signatures=False).bands.shape == (len(ODD), 0)


def test_no_texts_and_empty_texts():
    assert len(COMPILED.sketch(Strings.of([]))) == 0
    blank = COMPILED.sketch(Strings.of(["", "?!"]))
    assert blank.digest.tolist() == blank.tokens.tolist() == [0, 0]
    assert blank.key_offsets.tolist() == [0, 0, 0]
    assert not blank.bands.any()
    assert (blank.signature == 0xFFFFFFFF).all()


def test_take_and_arrays():
    sketches = COMPILED.sketch(Strings.of(ODD))
    rows = np.array([5, 0, 30, 30, 2])
    assert_equal(sketches.take(rows), COMPILED.sketch(Strings.of([ODD[row] for row in rows])))
    assert_equal(sketches.take(np.zeros(0, np.int64)), type(sketches).empty())
    assert_equal(type(sketches).from_arrays(sketches.arrays("x."), "x."), sketches)


# A plain reading of the rules for ASCII text, with Python's own integers, sets and regular expressions.


def secrets() -> dict[str, int]:
    words = KeyedHash(SECRET).derive(b"sketch").words(len(Secrets._fields))
    return {name: int(word) | 1 for name, word in zip(Secrets._fields, words, strict=True)}


def mix(value: int) -> int:
    key, low = secrets(), 2**64 - 1
    value = (value ^ value >> 32) * key["first"] & low
    value = (value ^ value >> 29) * key["second"] & low
    return value ^ value >> 32


def token_hash(token: str) -> int:
    state = secrets()["token"]
    for start in range(0, len(token), 8):
        state = mix(state ^ int.from_bytes(bytes(ord(char) | 0x20 for char in token[start : start + 8]), "little"))
    return state


def shingles(hashes: list[int], words: int, multiplier: int) -> list[int]:
    found = []
    for start in range(len(hashes) - words + 1):
        value = 0
        for item in hashes[start : start + words]:
            value = (value * multiplier + item) & (2**64 - 1)
        found.append(mix(value))
    return found


def template_keys(text: str) -> list[int]:
    masked: list[int] = []
    numeric = False
    for token in re.findall(r"[a-z0-9_]+", text.lower()):
        digit = bool(re.search(r"\d", token))
        if not (digit and numeric):
            masked.append(secrets()["number"] if digit else token_hash(token))
        numeric = digit
    edges = shingles(masked, 8, secrets()["edge"])
    minima = {min(part) for part in (edges[:32], edges[:64], edges[-32:], edges[-64:]) if part}
    return sorted({*sorted(set(shingles(masked, 5, secrets()["template"])))[:16], *minima})


@pytest.mark.parametrize(
    "text", [ENGLISH, CODE, "na " * 500 + ENGLISH, prose(random.Random(1), 90), "1 2 3 go 4 " * 40]
)
def test_template_keys_equal_a_plain_reading_of_the_rules(text):
    assert sorted(keys_of(COMPILED.sketch(Strings.of([text])), 0)) == template_keys(text)


def test_keys_ascend_and_are_distinct_and_never_zero():
    sketches = COMPILED.sketch(Strings.of(ODD))
    for row in range(len(sketches)):
        keys = sketches.keys[sketches.key_offsets[row] : sketches.key_offsets[row + 1]]
        assert (keys > 0).all()
        assert (np.diff(keys.astype(object)) > 0).all()


def test_a_short_prompt_has_one_key_of_its_own():
    sketches = COMPILED.sketch(Strings.of(["hello there", "Hello, there!", "hello you", "7", "8"]))
    assert np.diff(sketches.key_offsets).tolist() == [1] * 5
    assert sketches.keys[0] == sketches.keys[1]
    assert len(set(sketches.keys.tolist())) == 4
    assert not set(sketches.keys.tolist()) & set(sketches.digest.tolist())


# What a sketch holds on to, and what it lets go.


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Write a POEM, now.", "write a poem now"),
        ("Ｗｒｉｔｅ a poem", "write a poem"),
        ("wr\u200bite a po\u00adem", "write a poem"),
        ("café", "cafe\u0301"),
        ("请写一首诗！", "请 写 一首诗"),
        ("٣ apples", "3 apples"),
    ],
)
def test_disguises_do_not_change_the_digest(left, right):
    digests = COMPILED.sketch(Strings.of([left, right])).digest
    assert digests[0] == digests[1] != 0


@pytest.mark.parametrize(
    ("left", "right"), [("a b", "b a"), ("ab c", "a bc"), ("a", "a a"), ("a_b", "a b"), ("a1", "a2")]
)
def test_other_token_streams_have_other_digests(left, right):
    digests = COMPILED.sketch(Strings.of([left, right])).digest
    assert digests[0] != digests[1]


def test_numbers_do_not_change_the_template_keys():
    filled = [f"Please solve exercise {n} of chapter {n / 7:.2f} and check it {n * n} times." for n in (1, 999_999, 31)]
    sketches = COMPILED.sketch(Strings.of(filled))
    assert keys_of(sketches, 0) == keys_of(sketches, 1) == keys_of(sketches, 2)
    assert len(set(sketches.digest.tolist())) == 3


@pytest.mark.parametrize("before", [0, 20])
@pytest.mark.parametrize("ratio", [1, 4])
def test_a_template_is_found_however_long_its_item_and_padding(ratio, before):
    """The padding attack: fresh random words around the template must not hide it, at any pair of prompts."""
    rng = random.Random(ratio)
    template = prose(rng, 60)
    prompts = [f"{prose(rng, before)} {template} {prose(rng, 60 * ratio)}" for _ in range(40)]
    sketches = COMPILED.sketch(Strings.of(prompts))
    counts: dict[int, int] = {}
    for row in range(len(prompts)):
        for key in keys_of(sketches, row):
            counts[key] = counts.get(key, 0) + 1
    assert max(counts.values()) >= 10
    lonely = [row for row in range(len(prompts)) if max(counts[key] for key in keys_of(sketches, row)) < 10]
    assert len(lonely) <= 4


def test_unrelated_prompts_share_no_key():
    rng = random.Random(3)
    sketches = COMPILED.sketch(Strings.of([prose(rng, 70) for _ in range(500)]))
    assert len(set(sketches.keys.tolist())) > 0.999 * len(sketches.keys)


def test_an_enormous_text_is_bounded_and_its_middle_not_read():
    rng = random.Random(4)
    head, tail = prose(rng, 3000)[:8192], prose(rng, 3000)[:8192]
    batch = COMPILED.sketch(Strings.of([head + prose(rng, 100_000) + tail, head + "?" * 9 + tail, head + tail, head]))
    assert batch.truncated.tolist() == [True, True, False, False]
    assert batch.digest[0] == batch.digest[1]
    assert batch.tokens.max() <= 16_384
    assert_equal(
        batch, PLAIN.sketch(Strings.of([head + "!" * 5_000_000 + tail, head + "?" * 9 + tail, head + tail, head]))
    )


def test_a_cut_inside_a_character_drops_that_character_only():
    text = "中" * 20_000
    sketches = COMPILED.sketch(Strings.of([text]))
    assert sketches.tokens[0] == 2 * (8192 // 3)


def test_jaccard_estimate():
    rng = random.Random(5)
    errors = []
    for _ in range(150):
        words = prose(rng, 80).split()
        edited = [rng.choice(WORDS) if rng.random() < 0.1 * rng.random() * 3 else word for word in words]
        pair = " ".join(words), " ".join(edited)
        left, right = (set(COMPILED.shingle_hashes(text).tolist()) for text in pair)
        exact = len(left & right) / len(left | right)
        signatures = COMPILED.sketch(Strings.of(pair)).signature
        errors.append((signatures[0] == signatures[1]).mean() - exact)
    assert np.abs(errors).mean() < 0.055  # theory: about 0.8 * sqrt(J (1 - J) / 64), at most 0.05
    assert abs(np.mean(errors)) < 0.02


def test_bands_are_the_signature_in_fours():
    sketches = COMPILED.sketch(Strings.of([ENGLISH, ENGLISH + " Thanks a lot for that!", CHINESE]))
    same = sketches.signature[0, :16].reshape(4, 4) == sketches.signature[1, :16].reshape(4, 4)
    assert (sketches.bands[0] == sketches.bands[1]).tolist() == same.all(axis=1).tolist()
    assert len(np.unique(sketches.bands[[0, 2]])) == 8


# Without the secret.


def test_another_secret_shares_nothing():
    mine, other = (sketcher.sketch(Strings.of(ODD)) for sketcher in (COMPILED, Sketcher(b"another secret")))
    assert not set(mine.keys.tolist()) & set(other.keys.tolist())
    assert not set(mine.bands.ravel().tolist()) & set(other.bands.ravel().tolist()) - {0}
    assert not set(mine.digest.tolist()) & set(other.digest.tolist()) - {0}
    assert COMPILED.fingerprint != Sketcher(b"another secret").fingerprint
    assert COMPILED.fingerprint != Sketcher(SECRET, SketchParameters(template_words=6)).fingerprint
    assert COMPILED.fingerprint == Sketcher(SECRET).fingerprint


def test_crafted_minima_gain_nothing_without_the_secret():
    """Search for shingles that hold every minimum, append them to two unrelated prompts: works only with the secret."""
    guessed = Sketcher(b"the attacker's guess", SketchParameters(text_bytes_max=1 << 20))
    rng = random.Random(6)
    pool = [f"{rng.choice(WORDS)}{rng.randrange(10**6)}" for _ in range(60_000)]
    values = guessed.shingle_hashes(" ".join(pool)).astype(np.uint64)
    a, b = MinHash(64, seed=guessed.permutation_seed, scheme="affine32").permutations
    best = [int(np.argmin(scrambled(values) * a[slot] + b[slot])) for slot in range(64)]
    suffix = " ".join(" ".join(pool[place : place + 3]) for place in best)
    pair = [f"{prose(rng, 152)} {suffix}" for _ in range(2)]

    def estimate(sketcher: Sketcher) -> float:
        signatures = sketcher.sketch(Strings.of(pair)).signature
        return float((signatures[0] == signatures[1]).mean())

    left, right = (set(COMPILED.shingle_hashes(text).tolist()) for text in pair)
    exact = len(left & right) / len(left | right)
    assert estimate(guessed) > 0.95  # the attack itself works
    assert abs(estimate(COMPILED) - exact) < 0.15  # within the noise of 64 slots
    assert exact < 0.5


def scrambled(values: np.ndarray) -> np.ndarray:
    from models.sketch_kernel import scramble

    return scramble(values).astype(np.uint32)


# Asking for the reasoning.


@pytest.mark.parametrize("phrase", PHRASES)
def test_every_phrase_is_found_inside_a_prompt(phrase):
    column = Strings.of([f"Solve this, {phrase.upper()}: 3 + 4. {phrase}", "Solve this: 3 + 4."])
    assert COMPILED.sketch(column).reasoning.tolist() == [True, False]


@pytest.mark.parametrize("tag", TAGS)
def test_tags_count_only_as_tags(tag):
    column = Strings.of(
        [f"Put it in <{tag}>.", f"Close with </{tag}>", f"I {tag} so", f"a > {tag} / 2", f"< {tag}", tag]
    )
    assert COMPILED.sketch(column).reasoning.tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    "text", ["What is the capital of France?", "step by", "by step by", "How do I think of a name?", ""]
)
def test_common_prompts_do_not_ask_for_reasoning(text):
    assert not COMPILED.sketch(Strings.of([text])).reasoning[0]


def test_a_phrase_does_not_reach_into_the_next_prompt():
    assert not COMPILED.sketch(Strings.of(["go step by", "step"])).reasoning.any()


@pytest.mark.parametrize(
    "wrong", [{"permutations": 0}, {"template_keys": 65}, {"bands": 8, "band_rows": 9}, {"edge_words": -1}]
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="sketch"):
        SketchParameters(**wrong)
