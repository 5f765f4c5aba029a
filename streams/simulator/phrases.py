"""Sentence patterns of the grammar: how honest people, documents and code are worded.

What lives here: patterns. Small letters are word classes: {v} verb, {a} adjective, {q} qualifier, {n} noun of the
topic, {m} another noun of the topic, {o} noun of any topic, {d} determiner, {r} preposition, {j} conjunction, {x}
auxiliary, {l} place, {p} person, {t} time, {k} number, {s} surname, {b} brand, {y} invented place, {i} identifier.
Capitals are phrases of their own: {E} noun phrase, {A} adverbial, {V} verb phrase, {W} opener, {G} goal, {C}
clause. What does not: word lists (``vocabulary``). Fixed runs are short, because unrelated people rarely share five
words in a row: the laboratory found 1 % of organic prompts with two word-5 keys in common with eight other
customers.
"""

from __future__ import annotations

from streams.simulator.vocabulary import listed

PHRASES: dict[str, list[str]] = {
    "E": listed(
        """
    {d} {n}  | {d} {a} {n}  | {a} {n}  | {d} {m} {r} {d} {n}  | {s}'s {n}  | {d} {b} {n}  | {k} {a} {n}s
    | {d} {q} {a} {m}  | {d} {n} {r} {d} {l}  | {n} {j} {m}  | {d} {a} {j} {a} {n}  | {a} {o}  | {d} {n}
    {r} {y}  | {b} {n}s  | {p}'s {a} {m}
    """,
        "|",
    ),
    "A": listed(
        """
    {t}  | {r} {d} {l}  | {q}  | {r} {d} {a} {o}  | {r} {y}  | {j} {p} {x} {v}  | {r} {p}  | {t} {r} {y}
    | {q} {t}  | {r} {b}  | {j} {d} {m} {x} {v}  | {r} {s}
    """,
        "|",
    ),
    "V": listed(
        """
    {v} {E}  | {v} {E} {A}  | {v} {j} {v} {E}  | {v} {E} {r} {E}  | {q} {v} {E}  | {v} {p} {r} {E}  |
    {v} {E} {j} {E}
    """,
        "|",
    ),
    "G": listed(
        """
    save money {A}  | save time  | impress {p}  | keep {E} simple  | avoid {E}  | pass {t}  | sleep {A}
    | get {E} done {t}  | understand {E}  | use less {n}  | make {E} last  | keep {p} busy  | reduce {E}
    | stay within {k}  | feel {a} {A}  | learn {n} basics  | not upset {p}  | show {p} {E}  | finish {t}
    | free up {d} {l}  | compare {E}  | {v} {p}  | {V}
    """,
        "|",
    ),
    "C": listed(
        """
    {E} {x} {v} {E}  | {p} {x} {v} {E} {A}  | {s} {x} {V}  | {E} {x} {v} {A}  | {d} {n} is {a} {A}  |
    {E} {x} be {a}  | {y} {x} {V}  | {p} and {s} {V}  | {E} got {a} {t}  | nobody {x} {V}  | {E} costs
    {k} {A}  | {b} {x} {v} {E} {A}
    """,
        "|",
    ),
    "W": listed(
        """how do i | how can i | best way to | is it ok to | why can't i | do i need to | when should i | can you |
        should i | what do i need to | any tips to | a trick to | how would you | help me | i want to | i'm trying to |
        we need to | show me how to | tell me how to | who can | safe to | how often do you | if i | please |
        quick question, | how long to | would it hurt to | where do i | trying to | does {b} | can {p} | how does {s} |
        {q} need to | {p} {x} | first time i {x} | what if we | {p} wants to | we {x} | {t} i {x} | how to |
        easiest way to | cheapest way to | steps to | {s} says | is {y} where you | hey, {s} {x} | i {x} | {A}, i {x} |
        for {p}, | {y} people {x} | {E}: | {k} times i {x}""",
        "|",
    ),
}
"""Letter -> alternatives for the phrase; they may use one another, but never in a circle."""

QUESTIONS = listed(
    """
    {W} {V}?  | {W} {V} {A}?  | {n} vs {m} {A}?  | {E} or {E}?  | what is {E} called {A}?  | {E} {q}
    {a}, why?  | {a} {n}, {k} dollars max  | {C}, what should i {v}?  | is {E} {a} {j} {E}?  | {W} {V}
    before i {V}?  | ideas for {E} {A}  | {V}, it looks {q} {a}  | {b} {n} {a} {A}  | {n} {m} {a} {l}  |
    what would {s} say {r} {E}?  | {k} ways to {V}  | {W} tell if {E} is {a}?  | {s} told me to {V},
    true?  | {W} {V}? {C}  | {C}?  | why {x} {E} {v}?  | {E} {A}?  | {E}, {E}, {E}: which {A}?  | {a}
    {n} {j} {m} {A}  | {C} {j} {C}, {W} {V}?  | {W} explain {E} to {p}?  | {n} {a} {m}  | {v} {n} {A}  |
    {E} {x} {v}? {W} {V}
    """,
    "|",
)

DETAILS = listed(
    """
    {C}.  | {C} {j} {C}.  | {p} said {C}.  | My {n} is {k} and {C}.  | {E}: {a}, {a}, {q} {a}.  | Last
    time {C}.  | I {x} {V} {j} {C}.  | We moved {A}, {C}.  | {A}, {C}.  | The goal: {G}.  | Don't {V}.
    | Please {V} {A}.  | Assume {C}.  | {s} suggested {E}.  | Only {k} of {E}, {C}.  | I read {C}.  |
    {E} {j} {E}, {q} {a}.  | Compare {E} {r} {E}.  | {V}, then {V}.  | Not {E}, {C}.
    """,
    "|",
)

FOLLOW_UPS = listed(
    """
    {V} {A}  | what about {E}?  | and if {C}?  | shorter please, {C}  | no, {E}  | ok but {W} {V}?  |
    thanks! now {V}  | why {a}?  | {C}, {V}  | i meant {E}, not {E}  | add {E}  | {C}, it's {q} {a} now
    | {p} asked {r} {E}  | {k} words  | more {r} {E}  | which {x} {p} {v}?  | sure, but {C}?  | {v} {E}
    {r} {E}  | continue  | thanks  | yes  | go on  | table with {E} {j} {E}  | {C}. {V}  | explain {E}
    {A}  | use {b}  | and {t}?  | {E} {A} please
    """,
    "|",
)

PASTE_REQUESTS = listed(
    """
    Summarise {r} {p}: {C}:  | what is {a} here? {C}  | {V}, keep {E}:  | Notes {r} {E}, {V}.  | {V} so
    that {C}  | Which {n} {x} {s} {v}?  | below, {W} {V}?  | Pull out {E} {j} {E}:  | proofread {r}
    {p} please, {C}  | tl;dr?  | {b} wrote this, {V}  | is {E} {a}? text follows  | {C}. {V}:
    """,
    "|",
)

PROSE = [
    entry + " "
    for entry in listed(
        """
    In {y}, {C} when {s} {x} {V}.  | According to {s}, {C}.  | {E} arrived {t} {j} {p} {x} {V}.  | {s}
    and {s} {V} {A}.  | Figures for {y} show {E}, {k} fewer {A}.  | {E}, {s} wrote, {x} {v} {E} unless
    {C}.  | By contrast, {C}.  | Nobody asked {p} whether {C}.  | After {k} days {C}, {j} {C}.  | {b}
    announced {t} that {C}.  | {E} turns to {E}.  | For {E}, {E} was ordered {r} {b}.  | {s} remembers
    {E} {A}.  | Whether to {V} or {V} remained {a}.  | To {G}, {C}.  | {y} has {E}; {y} has {E}.  | Some
    {V}; others, like {s}, {V}.  | {C}.  | {C}, {j} {C}.  | {E} {A}: {C}.  | {A}, {C} {j} {C}.  | {E}
    {x} {v} {E}, {E} {j} {E}.  | {s} {x} {V} {j} {V}.  | Still, {C}.
    """,
        "|",
    )
]

CODE_REQUESTS = listed(
    """
    why does {i} {v} {t}?  | refactor {i} {A} please  | what's {a} here? expected {i}, got {i}  | {W}
    {v} {i} without {i}?  | add a test for {i} {j} {i}  | {i} is {q} slow, {C}  | port {i} to {b}  |
    type error on {i}, {W} {V}?  | {V} in {i}  | review {i} {A}  | explain {i} {j} {i}  | {C} since {i}
    | {i}: {C}
    """,
    "|",
)

CODE = [
    "    {i} = {i}({i}, {k})\n",
    "    if {i} is None:\n        return {i}.{i}\n",
    "for {i} in {i}.{i}():\n    {i}.append({i})\n",
    "def {i}({i}, {i}={k}):\n    {i} = {i} + {k}\n    return {i}\n",
    '    print({i}["{n}"])\n',
    "class {i}:\n    def {i}(self):\n        pass\n",
    "const {i} = await {i}.{i}({k});\n",
    "SELECT {i}, {i} FROM {i} WHERE {i} > {k};\n",
    "    {i}.{i}({i}=>{i})\n",
    "try:\n    {i}({i})\n",
    'except {i} as {i}:\n    raise {i}("{a} {n} {A}")\n',
    "    # {V}\n",
    "import {i}\n",
    "    while {i} < {k}: {i} += 1\n",
    "assert {i}({k}) == {k}\n",
    "    return [{i} for {i} in {i} if {i}]\n",
    "{i}: {i}: {E} at {i}\n",
    "git checkout -b {i}-{k}\n",
]
