"""Sentence patterns of the grammar: how honest people, documents and code are worded.

What lives here: patterns whose slots are word classes: {v} verb, {a} adjective, {q} qualifier, {n} noun of the
topic, {m} another noun of the topic, {o} noun of any topic, {l} place, {p} person, {t} time, {g} goal, {k} number,
{s} surname, {b} brand, {y} invented place, {i} identifier. What does not: word lists (``vocabulary``). Fixed runs
are kept under five words where people would vary them, because that is what unrelated people do.
"""

from __future__ import annotations

from streams.simulator.vocabulary import listed

OPENERS = listed(
    """
    how do i | how can i | what's the best way to | is it ok to | why can't i | do i need to | when
    should i | can you help me | should i | what do i need to | any tips to | is there a trick to | how
    would you | help me | i want to | i'm trying to | we need to | could you show me how to | what does
    it take to | tell me how to | who can | is it safe to | how often do you | what happens if i |
    please | i keep failing to | quick question, how to | how long does it take to | would it hurt to |
    where do i
    """,
    "|",
)

QUESTIONS = listed(
    """
    {w} {v} {a} {n} {t}? | {w} {v} the {n} with a {m}? | {w} {v} {n} and {m} in the {l}? | {n} vs {m}
    for {p}? | {w} {v} a {a} {n} so i can {g} | what is the {a} {n} called in {o}? | {n} {q} {a} {t},
    why? | difference between {n} and {a} {m} | {w} {v} {k} {n}s without a {m}? | {a} {n} for {p}, {k}
    dollars max | my {n} is {a} {t}, what should i {v}? | is a {n} from {b} better than {a} {m}? | {w}
    {v} this {n} before i {v} the {m}? | ideas for a {a} {n} {t} | {v} my {n}, it looks {q} {a} | {b}
    {n} {a} after {k} days | {n} {m} {a} {l} | what would {p} say about {a} {n}? | name {k} ways to {v}
    a {n} {t} | {w} tell if {n} is {a} or {a}? | {s} told me to {v} the {n}, is that right? | {w} {v}
    {n} near {y}? | {k} {n}s or one {a} {m}? | can a {n} {v} the {m} in my {l}? | why is the {b} {n} so
    {a}? | {a} {n} and {o} together? | what does {a} mean for a {n}? | {w} explain {n} to {p}?
    """,
    "|",
)

DETAILS = listed(
    """
    The {n} from {b} is {q} {a} and the {m} needs {k} more. | I already tried to {v} it {t} but {p} said
    no. | It has to {v} the {m} in the {l}. | My budget is {k} and {p} wants it {t}. | We moved to {y}
    {t}, so the {n} is {a}. | {s} suggested a {a} {m} instead. | Last time the {n} got {a} after {k}
    minutes. | I have {k} {n}s, {k} {m}s and one {a} {o}. | The goal is to {g}. | I don't want to {v}
    the {a} {m} again. | Please keep the {n} part short for {p}. | There is a {a} {n} in the {l} and I'd
    rather {v} that. | It worked {t}, then the {m} became {a}. | {p} uses a {b} {m} for this. | Assume
    the {n} costs {k} and lasts {t}. | Nobody in {y} could {v} it. | I read that {a} {n}s {v} better
    {t}. | The {m} says {a}, the {n} says {a}. | Only {k} percent of it is {a}. | I'm fine with a {a}
    answer if it helps me {g}. | Compare it to {o} if you can.
    """,
    "|",
)

FOLLOW_UPS = listed(
    """
    make it {a}er and mention the {m} | what about {a} {n}s? | and if the {m} is {a}? | shorter please,
    {p} won't read it | no, the {n} in the {l} | ok but {w} {v} the {m} then? | thanks! now do the same
    for {o} | why {a}? | can you {v} that {t}? | i meant {k}, not {k} | add {n} and {m} | that didn't
    work, it's {q} {a} now | {p} asked about the {m} too | in {k} words | give me {k} more about {n} |
    which one would you {v}? | sure, but is it {a}? | replace {n} with {m} | as a table with {n} and {m}
    | what did you mean by {a} {n}? | go on with the {m} | explain the {n} part again for {p} | use {b}
    instead | and {t}?
    """,
    "|",
)

PASTE_REQUESTS = listed(
    """
    Summarise this for {p}: | what is {a} about this text? | Fix the {a} parts, keep the {n}: | Here are
    my notes on {n}, turn them into a {m}. | rewrite so that {p} gets it {t} | Which {n} does the author
    {v}? | see below, {w} {v} the {m}? | Pull out every {n} and {k} dates: | proofread please, it's for
    {p} | tl;dr? | Translate for {p}, keep {b} as it is: | is the {n} argument {a}? text follows
    """,
    "|",
)

PROSE = [
    entry + " "
    for entry in listed(
        """
    In {y}, the {n} was {q} {a} when {s} decided to {v} the {m}.  | According to {s}, {k} of {k} {n}s
    were {a} {t}.  | The {a} {m} arrived {t} and {p} had to {v} it in the {l}.  | {s} and {s} compared a
    {n} with the {a} {m} of {y}.  | Figures for {y} show {k} {m}s, {k} fewer than {t}.  | A {n} should
    never {v} the {m}, {s} wrote, unless it is {a}.  | By contrast, {b} sells a {a} {n} for {k}.  |
    Nobody had asked {p} whether the {n} was {a}.  | After {k} days the {m} turned {a}, and the {l}
    smelled of {o}.  | {b} announced that its {n} will {v} {a} {o}s {t}.  | The second section turns to
    {n}, {m} and {a} {o}.  | For the {l} a {a} {n} was ordered from {b} in {y}.  | {s} remembers a {a}
    {m} and {k} {n}s {t}.  | Whether to {v} or to {v} the {n} remained {a}.  | To {g}, {p} kept the {a}
    {n} beside the {m}.  | {y} has {k} {n}s; {y} has {k}.  | Some {v} the {n} first; others, like {s},
    {v} the {m} {t}.
    """,
        "|",
    )
]

CODE_REQUESTS = listed(
    """
    why does this {v} fail {t}? | refactor this {i} please | what's {a} here? expected {k}, got {k} |
    {w} {v} this without {i}? | add a test for {i} | this is {q} slow for {k} rows | port to {b} | type
    error on {i}, {w} {v} it? | review my {n} code | explain line {k}
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
    'except {i} as {i}:\n    raise {i}("{a} {n}")\n',
    "    # {v} the {n}\n",
    "import {i}\n",
    "    while {i} < {k}: {i} += 1\n",
    "assert {i}({k}) == {k}\n",
    "    return [{i} for {i} in {i} if {i}]\n",
    "{i}: {i}: {a} {n} at line {k}\n",
    "git checkout -b {i}-{k}\n",
]
