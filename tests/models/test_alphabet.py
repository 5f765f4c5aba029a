# ruff: noqa: RUF001
"""Folding of characters: what a disguise may not change, and what must stay apart."""

import pytest

from models.alphabet import IGNORED, SEPARATOR, SINGLE, TABLE_SIZE, fold, fold_table


@pytest.mark.parametrize(
    ("disguised", "plain"),
    [("A", "a"), ("Ａ", "a"), ("é", "e"), ("É", "e"), ("𝓱", "h"), ("③", "3"), ("٣", "3"), ("９", "9"), ("²", "2"),
     ("Й", "и"), ("Ω", "ω"), ("ς", "σ"), ("İ", "i"), ("ß", "ß"), ("_", "_")],
)  # fmt: skip
def test_disguises_fold_to_the_plain_character(disguised, plain):
    assert fold(ord(disguised)) == ord(plain)


@pytest.mark.parametrize("char", [" ", "\n", "\0", ".", "<", "。", "—", "“", "🙂", "€", "\ud800", "`"])
def test_separators(char):
    assert fold(ord(char)) == SEPARATOR


@pytest.mark.parametrize("char", ["\u200b", "\u200d", "\u00ad", "\ufeff", "\u0301", "\ufe0f", "\u064e", "\U000e0041"])
def test_unseen_characters_are_ignored(char):
    assert fold(ord(char)) == IGNORED


@pytest.mark.parametrize("char", ["中", "か", "カ", "한", "ท", "ក", "\U00020000", "\U0003134a"])
def test_unspaced_scripts_give_one_token_each(char):
    assert fold(ord(char)) == ord(char) | SINGLE


@pytest.mark.parametrize("char", ["ह", "ा", "्"])
def test_signs_of_indic_words_stay_in_the_word(char):
    assert IGNORED < fold(ord(char)) < SINGLE


def test_the_table_is_the_function_and_cannot_be_changed():
    table = fold_table()
    assert len(table) == TABLE_SIZE
    assert all(table[code] == fold(code) for code in range(0, TABLE_SIZE, 97))
    assert not table.flags.writeable


def test_folding_twice_changes_nothing():
    for code in range(0, TABLE_SIZE, 13):
        folded = fold(code)
        if folded > IGNORED:
            assert fold(folded & (SINGLE - 1)) == folded, hex(code)


def test_only_digits_are_as_low_as_digits():
    """The tokenisers tell a digit by comparing with "9"."""
    low = {int(value) for value in fold_table() if IGNORED < value <= ord("9")}
    assert low == set(range(ord("0"), ord("9") + 1))


def test_ascii_is_word_or_separator():
    """The compiled tokeniser classifies ASCII by arithmetic, which must agree with the table."""
    words = {chr(code) for code in range(128) if fold(code) != SEPARATOR}
    assert words == set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
