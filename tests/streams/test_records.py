"""Files of every kind: lines, documents, archives, damage; nothing is lost, nothing raises, memory is bounded."""

import gzip
import io
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.decode import Decoder
from models.errors import ConfigError
from models.event import Reject
from models.hashing import KeyedHash
from streams.records import RecordBatch, RecordFile

KEYED = KeyedHash(b"a test's secret.")
LINES = [json.dumps({"n": index, "text": 'brackets [{ and "quotes" \\'}).encode() for index in range(3000)]
GOOD = {"ts": 1_700_000_000_000, "account_id": "a", "model": "m", "prompt": "p"}


def packed_gzip(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:]) + b"\0" * 40


def packed_zstd(data: bytes) -> bytes:
    half = len(data) // 2
    return zstandard.compress(data[:half]) + zstandard.compress(data[half:])


def plain(data: bytes) -> bytes:
    return data


def read(path: Path, **limits: int) -> list[RecordBatch]:
    return list(RecordFile(str(path), **limits).batches())


def records_of(batches: list[RecordBatch]) -> list[bytes]:
    return [record for batch in batches for record in batch.records]


def offsets_of(batches: list[RecordBatch]) -> list[int]:
    return [batch.origin.offset_of(row) for batch in batches for row in range(len(batch.records))]


def faults_of(batches: list[RecordBatch]) -> list[str]:
    return [reject.reason for batch in batches for reject in batch.rejects]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    count = itertools.count()

    def write(data: bytes) -> Path:
        path = tmp_path / f"events-{next(count)}"
        path.write_bytes(data)
        return path

    return write


Write = Callable[[bytes], Path]


@pytest.mark.parametrize("pack", [plain, packed_gzip, packed_zstd])
@pytest.mark.parametrize("ending", [b"\n", b""])
def test_lines_come_whole_and_in_order(written: Write, pack: Callable[[bytes], bytes], ending: bytes) -> None:
    path = written(pack(b"\n".join(LINES) + ending))
    batches = read(path, batch_records_max=700)
    assert records_of(batches) == LINES
    assert offsets_of(batches) == list(range(3000))
    assert max(len(batch.records) for batch in batches) == 700
    assert faults_of(batches) == []
    assert batches[-1].bytes_read == path.stat().st_size
    assert {batch.origin.topic for batch in batches} == {path.name}


def test_size_is_for_progress(written: Write) -> None:
    assert RecordFile(str(written(b"12345"))).size == 5


def test_blank_lines_are_no_records_but_keep_their_place(written: Write) -> None:
    batches = read(written(b'\n{"a":1}\r\n\n  \n{"a":2}\n\n'))
    assert [record.strip() for record in records_of(batches)] == [b'{"a":1}', b'{"a":2}']
    assert offsets_of(batches) == [1, 4]


def test_empty_file_has_no_records(written: Write) -> None:
    for data in (b"", b"\n\n", gzip.compress(b""), zstandard.compress(b"")):
        batches = read(written(data))
        assert (records_of(batches), faults_of(batches)) == ([], [])


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_one_array_comes_as_its_elements(written: Write, indent: int | None) -> None:
    values = [json.loads(line) for line in LINES]
    path = written(json.dumps(values, indent=indent).encode())
    batches = read(path, record_bytes_max=4096)  # the array itself is far larger
    assert [json.loads(record) for record in records_of(batches)] == values
    assert offsets_of(batches) == list(range(3000))


def test_array_with_an_element_a_line(written: Write) -> None:
    for data in (b"[\n" + b",\n".join(LINES) + b"\n]\n", b"[" + b",\n".join(LINES) + b"]"):
        assert records_of(read(written(data))) == LINES


def test_small_array_on_one_line_is_one_record(written: Write) -> None:
    assert records_of(read(written(b'[{"a":1},{"a":2}]\n[{"a":3}]\n'))) == [b'[{"a":1},{"a":2}]', b'[{"a":3}]']


def test_objects_printed_over_lines(written: Write) -> None:
    values = [{"resourceSpans": [{"scopeSpans": []}]}, {"b": {"c": "}"}}]
    data = "\n".join(json.dumps(value, indent=2) for value in values).encode()
    assert [json.loads(record) for record in records_of(read(written(data)))] == values


@pytest.mark.parametrize("first", [b'{"a":', b'{"a":1,', b"[[[[", b'["', b"}", b'"', b"\xef\xbb\xbf{}", b"\xff\xfe{"])
def test_broken_first_line_costs_only_itself(written: Write, first: bytes) -> None:
    assert records_of(read(written(first + b"\n" + b"\n".join(LINES)))) == [first, *LINES]


def test_document_that_never_closes_is_cut_and_refused(written: Write) -> None:
    (record,) = records_of(read(written(b"{\n" + b"\n".join(LINES)), record_bytes_max=1000))
    assert len(record) == 1001
    (record,) = records_of(read(written(b'[\n{"a": 1')))
    assert record == b'{"a": 1'


def test_document_without_objects_is_still_one_record(written: Write) -> None:
    assert records_of(read(written(b"[\n1,\n2\n]"))) == [b"[\n1,\n2\n]"]


@pytest.mark.parametrize("pack", [plain, packed_gzip, packed_zstd])
def test_long_line_is_cut_in_its_place(written: Write, pack: Callable[[bytes], bytes]) -> None:
    data = b"\n".join([LINES[0], b"x" * 3_000_000, LINES[1], b"y" * 1001, b"z" * 1000])
    batches = read(written(pack(data)), record_bytes_max=1000)
    assert records_of(batches) == [LINES[0], b"x" * 1001, LINES[1], b"y" * 1001, b"z" * 1000]
    assert offsets_of(batches) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_truncated_archive_gives_what_it_has_and_says_so(written: Write, pack: Callable[[bytes], bytes]) -> None:
    data = b"\n".join(json.dumps({"n": os.urandom(40).hex()}).encode() for _ in range(9000))
    whole = pack(data)
    batches = read(written(whole[: len(whole) // 2]))
    assert faults_of(batches) == ["truncated_archive"]
    got = records_of(batches)
    assert 1000 < len(got) < 9000
    assert got[:-1] == data.split(b"\n")[: len(got) - 1]
    for cut in range(2 if pack is gzip.compress else 4, 30):
        assert faults_of(read(written(whole[:cut]))) == ["truncated_archive"], cut


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_corrupt_archive_ends_in_a_reject(written: Write, pack: Callable[[bytes], bytes]) -> None:
    whole = bytearray(pack(b"\n".join(json.dumps({"n": os.urandom(40).hex()}).encode() for _ in range(9000))))
    damaged = [
        bytes(whole[:40]) + os.urandom(100) + bytes(whole[140:]),
        bytes(whole) + b"rubbish",
        bytes(whole[:6]) + b"\xff" * 50,
    ]
    for data in damaged:
        batches = read(written(data))
        (fault,) = faults_of(batches)
        assert fault in ("corrupt_archive", "truncated_archive")
        assert batches[-1].rejects == [
            Reject(fault, batches[-1].origin.topic, 0, batches[-1].origin.offset_first, "", 0)
        ]


def test_kind_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    for name, data in {
        "a.gz": b'{"a":1}\n',
        "b.jsonl": gzip.compress(b'{"a":1}\n'),
        "c": zstandard.compress(b'{"a":1}'),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert records_of(read(tmp_path / name)) == [b'{"a":1}']


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RecordFile(str(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)


def test_stdin_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(reading)))
    monkeypatch.setattr(sys, "stdin", stdin)
    batches = RecordFile("-").batches()
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(b"\n".join(LINES[:3]) + b"\n")
        assert list(next(batches).records) == LINES[:3]  # while the pipe is still open
        threading.Timer(0.01, pipe.write, [LINES[3] + b"\n"]).start()
        assert list(next(batches).records) == LINES[3:4]
    assert records_of(list(batches)) == []
    stdin.close()


MEASURED = """
import resource, sys
from streams.records import RecordFile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(batch.records) for batch in RecordFile(sys.argv[1]).batches())
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_bomb_cannot_fill_the_memory(written: Write, kind: str) -> None:
    piece = b"0" * (1 << 24)
    tool = gzip.compress if kind == "gzip" else zstandard.compress
    path = written(b"".join([tool(piece)] * 64))  # 1 GiB on one line
    assert path.stat().st_size < 2 << 20
    done = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True)
    count, grown_kib = map(int, done.stdout.split())
    assert count == 1
    assert grown_kib < 100 << 10


def broken_folder(folder: Path) -> dict[str, int]:
    """Files of every kind of damage; the number of good events in each."""
    good = [json.dumps({**GOOD, "event_id": str(index)}).encode() for index in range(20)]
    lines = b"\n".join(good)
    files: dict[str, tuple[bytes, int]] = {
        "good.jsonl": (lines, 20),
        "array.json": (json.dumps([json.loads(line) for line in good], indent=1).encode(), 20),
        "marked.jsonl": (b"\xef\xbb\xbf" + lines, 19),
        "utf16.jsonl": (lines.decode().encode("utf-16"), 0),
        "binary": (bytes(range(256)) * 300, 0),
        "nul.jsonl": (b"\0" * 100_000 + b"\n" + lines, 20),
        "half.jsonl": (lines[: len(lines) - 10], 19),
        "deep.jsonl": (b"[" * 100_000 + b"\n" + b'{"a":' * 100_000 + b"\n" + lines, 20),
        "long.jsonl": (b'"' + b"a" * 3_000_000 + b'"\n' + lines, 20),
        "types.jsonl": (b'{"event_id":1}\n{"ts":"x","event_id":"e"}\n[]\n1\nnull\n' + lines, 20),
        "csv.csv": (b"event_id,ts\n1,2\n", 0),
        "cut.jsonl.gz": (gzip.compress(lines)[:60], 0),
        "good.jsonl.gz": (gzip.compress(lines), 20),
        "tail.jsonl.gz": (gzip.compress(lines) + b"tail", 20),
        "good.jsonl.zst": (zstandard.compress(lines), 20),
        "magic.gz": (b"\x1f\x8b" + b"\0" * 50, 0),
        "magic.zst": (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, 0),
        "crlf.jsonl": (lines.replace(b"\n", b"\r\n"), 20),
        "empty": (b"", 0),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: count for name, (_, count) in files.items()}


def test_folder_of_broken_input_is_accounted_for(tmp_path: Path) -> None:
    for name, good in broken_folder(tmp_path).items():
        decoder = Decoder(KEYED)
        accepted = rejected = 0
        for batch in RecordFile(str(tmp_path / name)).batches():
            decoded = decoder.decode(batch.records, batch.origin)
            accepted += len(decoded.batch)
            rejected += len(decoded.rejects) + len(batch.rejects)
        assert accepted == good, name
        assert rejected or name.startswith(("good", "array", "crlf", "empty")), name


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300) | st.text('{}[]",:1 \n\\', max_size=120).map(str.encode),
    st.sampled_from([b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"{\n", b"[\n", b"[{\n"]),
    st.sampled_from([plain, gzip.compress, zstandard.compress]),
)
def test_any_bytes_give_bounded_records(
    tmp_path: Path, data: bytes, head: bytes, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "any"
    path.write_bytes(pack(head + data))
    batches = read(path, record_bytes_max=50, batch_records_max=3)
    for batch in batches:
        assert len(batch.records) <= 3
        assert all(record.strip() and len(record) <= 51 for record in batch.records)
        Decoder(KEYED).decode(batch.records, batch.origin)
    offsets = offsets_of(batches)
    assert offsets == sorted(set(offsets))
    packed_as_is = pack is not plain or head[:1] in (b"\x1f", b"\x28")
    if not packed_as_is and not head and not data.lstrip().startswith((b"{", b"[")) and data[:2] != b"\x1f\x8b":
        assert [line[:51] for line in data.split(b"\n") if line.strip()] == records_of(batches)
