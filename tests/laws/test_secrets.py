"""Hiding secrets in a text that comes in pieces: where it is cut changes nothing, and other text is not held up."""

import pytest
from breezeway.v1 import item_pb2
from breezeway_server.agents.llm.hiding import HidingSteps
from breezeway_server.agents.llm.secrets import SecretFilter, Secrets
from breezeway_server.agents.steps import (
    ChoiceIncomplete,
    ReasoningDelta,
    Step,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallCompleted,
    ToolCallStarted,
)
from hypothesis import example, given
from hypothesis import strategies as st

KEY = "sk-operator-0123456789"

# Few letters, so that beginnings of secrets, and beginnings in them, come up all the time.
_WORDS = st.text("ab-", min_size=16, max_size=20)
_SECRETS = st.lists(_WORDS, min_size=1, max_size=3)
_NOISE = st.text("ab- \n", max_size=8)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Secrets, and a text in pieces that is made of them, of their beginnings and of other words."""
    secrets = draw(_SECRETS)
    part = st.one_of(_NOISE, st.sampled_from(secrets), st.sampled_from(secrets).flatmap(_beginnings))
    text = "".join(draw(st.lists(part, max_size=6)))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return secrets, [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _beginnings(word: str) -> st.SearchStrategy[str]:
    return st.integers(0, len(word)).map(lambda end: word[:end])


@given(_cases())
@example((["a" * 16, "a" * 20], ["a" * 17, "a" * 2, "b"]))
@example((["aab" * 6], ["aaa", "b" + "aab" * 5]))
def test_wherever_a_text_is_cut_the_same_is_hidden(case: tuple[list[str], list[str]]) -> None:
    values, pieces = case
    secrets = Secrets(values)
    hides = SecretFilter(secrets)
    told = "".join([*map(hides.feed, pieces), hides.end()])
    assert told == secrets.hide("".join(pieces))
    assert not secrets.within(told)


@given(_cases())
def test_only_what_may_be_a_secret_is_held_back(case: tuple[list[str], list[str]]) -> None:
    values, pieces = case
    secrets = Secrets(values)
    hides = SecretFilter(secrets)
    told = came = ""
    for piece in pieces:
        came += piece
        told += hides.feed(piece)
        tails = (came[-length:] for length in range(4, 21))
        if not any(word.startswith(tail) for tail in tails for word in secrets.words):
            assert told == secrets.hide(came)


@given(st.lists(st.text(), max_size=20))
def test_text_that_begins_no_secret_passes_at_once_and_as_it_is(pieces: list[str]) -> None:
    hides = SecretFilter(Secrets([KEY]))
    for piece in pieces:
        if "sk-o" not in "".join(pieces):
            assert hides.feed(piece) is piece


@pytest.mark.parametrize("piece", ["s", " tasks", "sk", "sk-", "ask-"])
def test_three_characters_of_a_key_are_nothing_to_wait_for(piece: str) -> None:
    assert SecretFilter(Secrets([KEY])).feed(piece) == piece


@pytest.mark.parametrize("value", ["ollama", "EMPTY", "/srv/projects/of/mine", "https://example.com/v1/models"])
def test_words_and_places_are_no_secrets(value: str) -> None:
    assert not Secrets([value])


def test_the_scheme_before_a_key_is_no_part_of_it() -> None:
    assert Secrets([f"Bearer {KEY}"]).words == [KEY]


def test_an_address_with_a_password_is_a_secret() -> None:
    assert Secrets(["https://me:secret@example.com/"])


@pytest.mark.parametrize("size", range(1, len(KEY) + 1))
def test_deltas_of_every_kind_keep_a_key_to_themselves(size: int) -> None:
    text = f"The key is {KEY}, and sk-open is none."
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    hides = HidingSteps(Secrets([KEY]))
    steps: list[Step] = [ReasoningDelta(piece) for piece in pieces]
    steps += [TextDelta(piece, index, ("{}",)) for piece in pieces for index in (0, 1)]
    steps.append(ToolCallStarted("1", "f", item_pb2.EXECUTOR_SERVER))
    steps += [ToolArgumentsDelta("1", piece) for piece in pieces]
    steps.append(ToolCallCompleted("1"))
    said = hides.end([out for step in steps for out in hides.feed([step])])
    hidden = "The key is sk-[redacted], and sk-open is none."
    assert "".join(step.text for step in said if isinstance(step, ReasoningDelta)) == hidden
    for index in (0, 1):
        assert "".join(s.text for s in said if isinstance(s, TextDelta) and s.choice_index == index) == hidden
    assert "".join(step.arguments for step in said if isinstance(step, ToolArgumentsDelta)) == hidden
    assert said[-1] == ToolCallCompleted("1")


def test_what_is_held_back_comes_before_what_follows_it() -> None:
    hides = HidingSteps(Secrets([KEY]))
    limit = ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS)
    assert hides.feed([ReasoningDelta("a sk-op")]) == [ReasoningDelta("a sk-")]
    assert hides.feed([TextDelta("b sk-op")]) == [ReasoningDelta("op"), TextDelta("b sk-")]
    assert hides.feed([limit]) == [TextDelta("op"), limit]


def test_tokens_that_spell_a_key_do_not_stay_beside_the_text() -> None:
    hides = HidingSteps(Secrets([KEY]))
    assert hides.feed([TextDelta(KEY, 0, (f'{{"token": "{KEY}"}}',))]) == [TextDelta("sk-[redacted]")]
