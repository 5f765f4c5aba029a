"""Families of campaign templates: what campaigns send by the thousand.

What lives here: the wording of each family, from which any number of templates is composed. What does not:
composing (``templates``). A template is an opening, some rules and a closing; single-letter slots are filled once
per template (letters as in ``phrases``), ``{{item}}`` and ``{{answer}}`` anew in every request.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.simulator.vocabulary import listed


@dataclass(frozen=True, slots=True)
class Family:
    """Alternatives for each part of a template; ``rules_min`` to ``rules_max`` rules are used, in random order."""

    name: str
    openings: list[str]
    rules: list[str]
    closings: list[str]
    rules_min: int = 2
    rules_max: int = 5


CAMPAIGN: tuple[Family, ...] = (
    Family(
        "instruction_generation",
        listed(
            """
    You are asked to come up with {k} diverse task instructions for a {a} model about {o} and {o}.  |
    Generate a set of {k} new {a} instructions in the field of {o} that differ from the seed below.  |
    Produce training prompts on {o}. Each prompt should {v} something {a} and be answerable without
    browsing.  | Write {k} user requests that a {a} specialist in {o} could receive, none alike.
    """,
            "|",
        ),
        listed(
            """
    Try not to repeat the verb in each instruction, so that diversity about {o} is kept.  | Mix
    questions with imperative instructions and {q} {a} scenarios.  | Half of them must {v} a {a} input
    of {k} words.  | The output of every instruction should be under {k} words.  | Do not mention {o} or
    anything {a}.  | An instruction a language model cannot complete, such as to {v} a picture, is not
    allowed.  | Number them from {k} on and leave a {a} line between.  | At least {k} should combine {o}
    with {o}.  | Inputs should be realistic data from {y}, never placeholders.  | Vary length, tone and
    {a} difficulty.
    """,
            "|",
        ),
        listed(
            """
    Seed task:~{{item}}~~Seed task:~{{item}}~~New tasks:  | Examples to stay away
    from:~{{item}}~{{item}}~{{item}}  | Start from this one:~{{item}}
    """,
            "|",
        ),
    ),
    Family(
        "evolve",
        listed(
            """
    I want you to act as a prompt rewriter. Your objective is to rewrite the given prompt into a more
    {a} version that makes {a} AI systems a bit harder to handle.  | Make the instruction below {q} more
    {a} by the method given.  | Take the #Task# and evolve it once toward {o}, keeping it {a} but
    solvable by a {a} human.
    """,
            "|",
        ),
        listed(
            """
    Add one more constraint about {o} or {t}.  | Replace general concepts with more {a} ones such as
    {o}.  | If the prompt can be solved in a few steps, require {k} explicit steps.  | The rewritten
    prompt may add only {k} words.  | Do not omit the non-text parts such as the {a} table or code.  |
    It must be reasonable to {p} and easy to {v}.  | The words given prompt and rewritten prompt must
    not appear in it.  | Deepen the inquiry about {o} {t}.  | Keep the domain but move it to {y}.  |
    Introduce a {a} edge case with {o}.
    """,
            "|",
        ),
        listed(
            """#Given Prompt#:~{{item}}~#Rewritten Prompt#:  | #Task#:~{{item}}~#Evolved#:  | Instruction: {{item}}""",
            "|",
        ),
    ),
    Family(
        "rubric_judge",
        listed(
            """
    Please act as an impartial judge and evaluate the quality of the response by an AI assistant to the
    request about {o} displayed below.  | Rate the answer on a scale of 1 to {k} for {a} correctness and
    {a} style.  | You grade model outputs for a {a} benchmark on {o}. Read request and answer, then
    score.
    """,
            "|",
        ),
        listed(
            """
    Consider helpfulness, relevance, depth and {a} detail.  | Deduct {k} points where the answer is {a}.
    | Begin with a short explanation before the score.  | Be as objective as {p} would be.  | A {a}
    answer that does not {v} the request scores lowest.  | Ignore length unless it is {q} {a}.  | Check
    every claim on {o} {t}.  | A score of {k} means nothing is left to {v}.  | List each {a} flaw as a
    bullet.  | Use the rubric: accuracy, {a} structure, safety, {o}.
    """,
            "|",
        ),
        listed(
            """
    [Question]~{{item}}~~[Answer]~{{answer}}~~Rating: [[  | Request: {{item}}~Response: {{answer}}~Score
    and reasons as JSON:
    """,
            "|",
        ),
    ),
    Family(
        "pairwise_judge",
        listed(
            """
    Compare two answers to one {a} request and pick the better, as {p} would.  | You will see a question
    about {o} and replies from assistant A and assistant B. Choose the more {a} one.  | Two {a} models
    were given the instruction below. Rank their outputs by which {p} would prefer.
    """,
            "|",
        ),
        listed(
            """
    Avoid any position bias; the order of replies is {a}.  | Do not let length influence you {q}.  |
    Ties are allowed only when both are {a}.  | Explain the choice in {k} sentences.  | Prefer the one
    that would {v} {o} correctly.  | Output strictly A or B on the {a} line.  | If one mentions {o}
    without need, it loses.  | Weigh {a} facts over {a} wording.
    """,
            "|",
        ),
        listed(
            """
    [User]~{{item}}~[A]~{{answer}}~[B]~{{answer}}~[Verdict]  | Instruction: {{item}}~Output (a):
    {{answer}}~Output (b): {{answer}}
    """,
            "|",
        ),
    ),
    Family(
        "cot_elicitation",
        listed(
            """
    Think step by step about the problem and show your complete reasoning before a {a} final answer.  |
    Solve the task. Write out every intermediate thought inside <think> tags, even {a} ones, then
    answer.  | Before answering, reconstruct the chain of thought an expert in {o} would follow, and
    write it {q} fully.
    """,
            "|",
        ),
        listed(
            """
    Use at least {k} numbered steps.  | Explore a {a} alternative and say why it fails.  | Verify each
    step like {p} would.  | Do not skip {a} calculations.  | Reflect on errors, backtrack and {v} again
    where needed.  | Justify the use of {o} in plain words.  | End with Final answer on a {a} line.  |
    State what is known and {a} first.
    """,
            "|",
        ),
        listed("""Problem: {{item}}  | Question:~{{item}}~~Reasoning:  | {{item}}~~Let's think step by step.""", "|"),
    ),
    Family(
        "role_play",
        listed(
            """
    Never forget you are a {a} {o} specialist and I am {p}. Never flip roles. Never instruct me.  | You
    are {s}, a {a} consultant from {y} who knows all about {o}. Stay in character.  | Act as the {a}
    half of a dialogue on {o}; I give instructions, you complete them.
    """,
            "|",
        ),
        listed(
            """
    We share a common interest in completing a {a} task {t}.  | You must decline honestly if you cannot
    {v} it.  | Always start with Solution and end with Next request.  | Give {a} implementations and {k}
    examples.  | Write as someone who had to {v} {o} {t}.  | Never ask me questions about {o}.  |
    Mention {y} where it is {a}.
    """,
            "|",
        ),
        listed("""Here is the task: {{item}}  | Instruction: {{item}}~Input: None  | {{item}}""", "|"),
    ),
    Family(
        "answer_wrapper",
        listed(
            """
    Below is an instruction that describes a {a} task. Write a response that appropriately completes the
    request.  | Answer as a {a} assistant would in a dataset on {o}. Only the answer is wanted.  | You
    receive one user query. Give the {q} best possible answer for {p}.
    """,
            "|",
        ),
        listed(
            """
    Answer in {k} to {k} words.  | No disclaimers, no {a} preamble.  | Use markdown with a {a} heading.
    | If information about {o} is missing, assume a {a} case.  | Write for {p} in {y}.  | Finish with
    one {a} takeaway.
    """,
            "|",
        ),
        listed(
            """### Instruction:~{{item}}~~### Response:  | Query: {{item}}~Answer:  | <input>{{item}}</input>""", "|"
        ),
        1,
        4,
    ),
    Family(
        "tool_use",
        listed(
            """
    You have access to {k} functions about {o}. Produce the {a} sequence of calls that satisfies the
    user.  | As an agent with tools for {o} and {o}, write the whole {a} trajectory: thought, action,
    observation.  | Simulate a {a} terminal session in which an agent has to {v} {o}.
    """,
            "|",
        ),
        listed(
            """
    Return calls as JSON objects with name and arguments.  | Invent {a} but plausible observations.  |
    Include one failed call and how to {v} it.  | Never call the same {a} tool {k} times.  | Arguments
    must mention {y} or {s} when {a}.  | Stop after {k} actions.  | Add the reason for every {a} action.
    """,
            "|",
        ),
        listed("""User: {{item}}~Calls:  | Goal: {{item}}~Trajectory:  | {{item}}~~Tools first, prose last.""", "|"),
    ),
    Family(
        "document_questions",
        listed(
            """
    Read the {a} passage and write {k} question and answer pairs that test {a} understanding.  | From
    the text about {o}, create {a} exam questions with worked solutions.  | Turn the following document
    into {k} {a} dialogues between {p} and an expert.
    """,
            "|",
        ),
        listed(
            """
    Questions must not {v} the wording of the passage.  | Mix {a} facts with inference.  | Each answer
    quotes the {a} sentence it rests on.  | Skip names such as {s}.  | Difficulty rises to {k}.  | One
    question should compare it with {o}.  | Answers are {q} complete sentences.
    """,
            "|",
        ),
        listed("""Passage:~{{answer}}~{{answer}}~~Pairs:  | <document>{{answer}}</document>~About: {{item}}""", "|"),
    ),
    Family(
        "code_generation",
        listed(
            """
    Write {a} production code for the request below together with tests and a {a} explanation.  | You
    are a {a} engineer creating solutions for a code dataset on {o}.  | Give {k} different
    implementations of the task, from {a} to {a}.
    """,
            "|",
        ),
        listed(
            """
    State complexity for each {a} loop.  | Use only the standard library, never {b}.  | Handle {a} input
    and {o}.  | Comment every {a} decision.  | Start with the signature, then {v} it.  | Include {k}
    tests.  | Show how {p} would {v} it by hand.  | Name things after {o}.
    """,
            "|",
        ),
        listed("""Task: {{item}}~Code:  | # {{item}}~  | Request:~{{item}}~~Solution:""", "|"),
    ),
    Family(
        "preference_rewrite",
        listed(
            """
    Improve the {a} response so that {p} would rate it higher, and list what changed.  | Given request
    and draft, write a {a} version and a deliberately {a} version.  | Critique the draft on {o}, then
    rewrite it {q} from scratch.
    """,
            "|",
        ),
        listed(
            """
    Keep it below {k} words.  | Correct every {a} claim.  | The rewrite must {v} the tone of {p}.  |
    Mark the {a} version with [[1]] and the other with [[0]].  | Do not {v} facts about {o}.  | Keep {a}
    formatting.  | Explain the {a} preference in one line.
    """,
            "|",
        ),
        listed(
            """Request: {{item}}~Draft: {{answer}}~Improved:  | <prompt>{{item}}</prompt>~<draft>{{answer}}</draft>""",
            "|",
        ),
    ),
    Family(
        "translation_pairs",
        listed(
            """
    Translate the {a} text into {k} languages of a parallel corpus, with {a} register.  | Produce
    aligned sentence pairs from the source below for a {a} corpus on {o}.  | Rewrite the input in {a}
    language, then back, and mark what a {a} reader would lose.
    """,
            "|",
        ),
        listed(
            """
    Keep numbers and names like {s}.  | One pair per line, separated by a {a} tab.  | Idioms on {o} are
    to be adapted.  | Rate each pair from 0 to {k}.  | No {a} comments.  | Do not {v} the punctuation.
    | Prefer {a} words over {a} ones.
    """,
            "|",
        ),
        listed("""Source:~{{answer}}~Pairs:|{{item}}~=>""", "|"),
    ),
)
"""Families a campaign may draw on."""
