"""Conversations in several shapes say one thing."""

import msgspec

from models.messages import Message, Turn, last_turn


def said(*messages: object) -> Turn:
    return last_turn(msgspec.convert(list(messages), list[Message]))


def test_shapes_of_content_are_equal() -> None:
    part = {"type": "text", "text": "hi"}
    shapes = [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": [part]},
        {"role": "user", "content": part},
        {"role": "user", "content": ["hi"]},
        {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
        {"role": "human", "content": [{"text": "hi"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image"}]},
    ]
    assert {said(shape) for shape in shapes} == {Turn("hi", "", 1)}


def test_turns_are_texts_of_the_user() -> None:
    ask = {"role": "user", "content": "ask"}
    answer = {"role": "assistant", "content": "answer"}
    result = {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "42"}]}]}
    assert said(ask, answer, ask, answer).turn == 2
    assert said(ask, answer, result) == Turn("ask", "", 1)
    assert said(result) == Turn("", "", 1)
    assert said(answer) == Turn("", "", 0)
    assert said() == Turn("", "", 0)


def test_system_texts_are_joined() -> None:
    system = {"role": "system", "content": "S"}
    developer = {"role": "developer", "content": [{"type": "text", "text": "D"}]}
    assert said(system, developer, {"role": "user", "content": "u"}).system == "S\nD"
