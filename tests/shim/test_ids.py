import pytest
from breezeway_shim.ids import chat_completion_id, is_run_id, response_id, run_id_in

DIGITS = "019a3e5c7d0070008000000000000001"


@pytest.mark.parametrize("prefix", ["run_", "resp_", "chatcmpl-"])
def test_the_three_spellings_are_one_id(prefix: str) -> None:
    assert response_id(prefix + DIGITS) == f"resp_{DIGITS}"
    assert chat_completion_id(prefix + DIGITS) == f"chatcmpl-{DIGITS}"
    assert is_run_id(prefix + DIGITS)


@pytest.mark.parametrize("text", ["", DIGITS, "run_../../etc", f"run_{DIGITS}0", f"msg_{DIGITS}", "run_" + "٣" * 32])
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_run_id(text)


def test_an_item_tells_its_run() -> None:
    assert run_id_in(f"apr_{DIGITS}00000a") == f"run_{DIGITS}"


@pytest.mark.parametrize(
    "text", ["", "apr_1", f"run_{DIGITS}", f"apr_{DIGITS}", f"apr_{DIGITS}00000g", f"{DIGITS}000001"]
)
def test_other_texts_are_no_items_of_a_run(text: str) -> None:
    assert run_id_in(text) is None
