"""Prompts as sketches: a few keyed numbers that tell near-duplicates and shared templates, and give no text back.

What lives here: the columns, the parameters and the pass from texts to columns. What does not: the loops
(``sketch_kernel``, ``sketch_numpy``), the packed form that edges send (``sketch_wire``), and who shares a key.

Tokens are lower-cased runs of letters, digits and ``_``; in scripts without spaces every character is one; the rest is
dropped. All hashes depend on the secret, so nobody outside can pick a text for its minima or test a guess.
They are multiplicative mixers, not cryptographic: an opponent must not see key values next to texts of its choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from datasketch import MinHash

from models.alphabet import fold_table
from models.compiled import COMPILED
from models.errors import ConfigError
from models.hashing import KeyedHash
from models.reasoning import PHRASES, TAGS
from models.sketch_kernel import BUCKET_BITS, EDGE_KEYS, Columns, Plan, sketch_rows
from models.sketch_numpy import Tokens, signature_shingles, sketch_rows_numpy, tokenise
from models.sketch_tokens import PADDING, Scratch, Secrets, UInt32, UInt64
from models.strings import Int64, Strings

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SketchParameters:
    """Sizes of a sketch. Changing any changes the values: sketches of two settings cannot be compared.

    Raises:
        ConfigError: a size is out of its range, or the bands need more slots than the signature has.
    """

    permutations: int = 64
    shingle_words: int = 3
    template_words: int = 5
    template_keys: int = 16
    edge_words: int = 8  # 0: no edge keys
    bands: int = 4
    band_rows: int = 4
    text_bytes_max: int = 8192  # read from the front, and as many again from the back

    def __post_init__(self) -> None:
        ranges = {
            "permutations": (1, 256),
            "shingle_words": (1, 16),
            "template_words": (1, 32),
            "template_keys": (1, 64),
            "edge_words": (0, 32),
            "bands": (1, 32),
            "band_rows": (1, 16),
            "text_bytes_max": (64, 1 << 20),
        }
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"sketch {name} is {getattr(self, name)}; give {least} to {most}")
        if self.bands * self.band_rows > self.permutations:
            raise ConfigError(f"sketch bands x band_rows exceed {self.permutations} permutations; lower one of them")


@dataclass(slots=True)
class Sketches:
    """Sketches of ``n`` prompts, all with the same secret and parameters (here: 64 permutations, 4 bands).

    The template keys of prompt ``i`` are ``keys[key_offsets[i]:key_offsets[i + 1]]``, distinct, ascending, never 0: the
    least word-5 shingle hashes of the text with its numbers masked, and the least word-8 hash among the first and the
    last 32 and 64 shingles. They are found again in whatever shares a passage, however long the rest is. A prompt
    shorter than a shingle has one key made from its digest; one without tokens has none.
    """

    digest: UInt64  # of the token stream: equal for prompts equal up to case, spaces, punctuation; 0 without tokens
    tokens: npt.NDArray[np.int32]
    signature: UInt32  # (n, 64): MinHash of word-3 shingles, as datasketch's scheme "affine32" computes it
    bands: UInt64  # (n, 4): one key per 4 slots; 0 without tokens
    keys: UInt64  # (m,)
    key_offsets: Int64  # (n + 1,)
    reasoning: Bool  # asks for its reasoning to be shown: see `reasoning`
    truncated: Bool  # longer than the bytes read: the middle was not

    # Without signatures, `signature` and `bands` have no columns.

    def __len__(self) -> int:
        return len(self.digest)

    @classmethod
    def empty(cls, parameters: SketchParameters | None = None) -> Sketches:
        """No sketches."""
        flags = {"reasoning": np.zeros(0, np.bool_), "truncated": np.zeros(0, np.bool_)}
        return cls(**_allocate(0, parameters or SketchParameters(), True)._asdict() | flags)

    def narrow(self) -> Sketches:
        """The same without signatures."""
        return replace(self, signature=self.signature[:, :0], bands=self.bands[:, :0])

    @classmethod
    def concat(cls, parts: Sequence[Sketches]) -> Sketches:
        """The sketches of ``parts`` one after another; all must have the same widths."""
        if not parts:
            return cls.empty()
        values = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        counts = np.concatenate([np.diff(part.key_offsets) for part in parts])
        return cls(**values | {"key_offsets": _offsets(counts)})

    def take(self, rows: npt.NDArray[np.integer]) -> Sketches:
        """The sketches at ``rows``, in that order."""
        counts = np.diff(self.key_offsets)[rows]
        offsets = _offsets(counts)
        gather = np.repeat(self.key_offsets[:-1][rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        taken = {name: column[rows] for name, column in values.items() if name not in ("keys", "key_offsets")}
        return Sketches(**taken, keys=self.keys[gather], key_offsets=offsets)

    def arrays(self, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
        """The columns by name, for ``wire.pack``."""
        return {prefix + field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]], prefix: str = "") -> Sketches:
        """What ``arrays`` gave."""
        return cls(**{field.name: arrays[prefix + field.name] for field in fields(cls)})


class Sketcher:
    """Turns texts into sketches under one secret; holds no state, so threads may share it.

    Args:
        secret: as for ``KeyedHash``.
        parameters: sizes.
        compiled: run the compiled kernel; the numpy form gives the same values some 20 times slower.
    """

    def __init__(self, secret: bytes, parameters: SketchParameters | None = None, *, compiled: bool = COMPILED) -> None:
        self.parameters = parameters or SketchParameters()
        self._compiled = compiled and COMPILED
        keyed = KeyedHash(secret).derive(b"sketch")
        self._plan = _plan(keyed, self.parameters)
        self.fingerprint = keyed.derive(repr(self.parameters).encode()).text("fingerprint") & 0xFFFFFFFF
        """32 bits that tell sketches of another secret or other parameters; goes into packed sketches."""

    def sketch(self, texts: Strings, *, signatures: bool = True) -> Sketches:
        """Sketch every text. At most ``2 * text_bytes_max`` bytes of one are read; bytes need not be valid UTF-8.

        ``signatures=False`` leaves out signatures and bands, a fifth of the work, where only keys are counted.
        """
        clipped, truncated = _clip(texts, self.parameters.text_bytes_max)
        columns = _allocate(len(texts), self.parameters, signatures)
        written = 0
        if len(texts) and self._compiled:
            data, offsets = _pad(clipped)
            written = sketch_rows(data, offsets, self._plan, columns, _scratch(int(clipped.lengths.max())))
        elif len(texts):
            written = sketch_rows_numpy(clipped.data, clipped.offsets, plan=self._plan, columns=columns)
        keys = columns.keys[:written].copy()  # the room was for the most there could have been
        flags = {"reasoning": columns.reasoning.astype(np.bool_), "truncated": truncated}
        return Sketches(**columns._asdict() | flags | {"keys": keys})

    def shingle_hashes(self, text: str) -> UInt32:
        """The 32-bit hashes of the shingles of one text: what a datasketch ``MinHash`` is fed to give our signature."""
        column = Strings.of_bytes([text.encode("utf-8", "surrogatepass")])
        clipped, _ = _clip(column, self.parameters.text_bytes_max)
        tokens = tokenise(clipped.data, clipped.offsets, table=self._plan.fold, secrets=self._plan.secrets)
        return signature_shingles(tokens, self._plan)[1]

    @property
    def permutation_seed(self) -> int:
        """Seed of the datasketch ``MinHash`` that shares our permutations."""
        return _permutation_seed(self._plan.secrets)


def _permutation_seed(secrets: Secrets) -> int:
    return int(secrets.signature >> np.uint64(32))


def _plan(keyed: KeyedHash, parameters: SketchParameters) -> Plan:
    """Derive all secrets and hash the phrase table."""
    words = keyed.words(len(Secrets._fields)) | np.uint64(1)  # odd, so that a multiplier loses no bits
    secrets = Secrets(*words)
    permutations = MinHash(parameters.permutations, seed=_permutation_seed(secrets), scheme="affine32").permutations
    phrases, tagged = _phrases(secrets)
    buckets = phrases.hashes[phrases.offsets[:-1]] >> np.uint64(64 - BUCKET_BITS)
    return Plan(
        secrets=secrets,
        fold=fold_table(),
        multipliers=np.ascontiguousarray(permutations[0], np.uint32),
        addends=np.ascontiguousarray(permutations[1], np.uint32),
        phrase_buckets=np.searchsorted(buckets, np.arange((1 << BUCKET_BITS) + 1)).astype(np.int64),
        phrase_offsets=phrases.offsets,
        phrase_tokens=phrases.hashes,
        phrase_tagged=tagged,
        shingle_words=parameters.shingle_words,
        template_words=parameters.template_words,
        template_keys=parameters.template_keys,
        edge_words=parameters.edge_words,
        bands=parameters.bands,
        band_rows=parameters.band_rows,
    )


def _phrases(secrets: Secrets) -> tuple[Tokens, npt.NDArray[np.uint8]]:
    """The phrase table as tokens, ascending by the first, and which of its rows are tags."""
    texts = Strings.of([*TAGS, *PHRASES])
    tokens = tokenise(texts.data, texts.offsets, table=fold_table(), secrets=secrets)
    order = np.argsort(tokens.hashes[tokens.offsets[:-1]], kind="stable")
    texts = texts.take(order)
    return tokenise(texts.data, texts.offsets, table=fold_table(), secrets=secrets), (order < len(TAGS)).astype(
        np.uint8
    )


def _allocate(count: int, parameters: SketchParameters, signatures: bool) -> Columns:
    return Columns(
        digest=np.zeros(count, np.uint64),
        tokens=np.zeros(count, np.int32),
        signature=np.zeros((count, parameters.permutations * signatures), np.uint32),
        bands=np.zeros((count, parameters.bands * signatures), np.uint64),
        keys=np.zeros(count * (parameters.template_keys + EDGE_KEYS), np.uint64),
        key_offsets=np.zeros(count + 1, np.int64),
        reasoning=np.zeros(count, np.uint8),
    )


def _scratch(longest: int) -> Scratch:
    """Room for a text of ``longest`` bytes: no more tokens than bytes, and whole fours of shingles."""
    size = longest + 4
    return Scratch(
        runs=np.empty(size, np.int64),
        starts=np.empty(size, np.int64),
        tokens=np.empty(size, np.uint64),
        digits=np.empty(size, np.uint8),
        masked=np.empty(size, np.uint64),
        shingles=np.empty(size, np.uint64),
        values=np.empty(size, np.uint32),
    )


def _pad(texts: Strings) -> tuple[npt.NDArray[np.uint8], Int64]:
    """The bytes of a column with room behind the last text, and its offsets from 0."""
    begin, end = texts.offsets[0], texts.offsets[-1]
    return np.concatenate([texts.data[begin:end], np.zeros(PADDING, np.uint8)]), texts.offsets - begin


def _offsets(counts: Int64) -> Int64:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _clip(texts: Strings, bytes_max: int) -> tuple[Strings, Bool]:
    """Cut the middle out of texts longer than twice ``bytes_max``; a space keeps the ends from growing together."""
    truncated = texts.lengths > 2 * bytes_max
    if not truncated.any():
        return texts, truncated
    parts = []
    for start, end, cut in zip(texts.offsets[:-1], texts.offsets[1:], truncated, strict=True):
        whole = texts.data[start:end]
        head, tail = whole[:bytes_max].tobytes(), whole[-bytes_max:].tobytes()
        parts.append(head + b" " + tail if cut else whole.tobytes())
    return Strings.of_bytes(parts), truncated
