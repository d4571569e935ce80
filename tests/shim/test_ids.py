import pytest
from breezeway_shim.ids import chat_completion_id, is_run_id, response_id

DIGITS = "019a3e5c7d0070008000000000000001"


@pytest.mark.parametrize("prefix", ["run_", "resp_", "chatcmpl-"])
def test_the_three_spellings_are_one_id(prefix: str) -> None:
    assert response_id(prefix + DIGITS) == f"resp_{DIGITS}"
    assert chat_completion_id(prefix + DIGITS) == f"chatcmpl-{DIGITS}"
    assert is_run_id(prefix + DIGITS)


@pytest.mark.parametrize("text", ["", DIGITS, "run_../../etc", f"run_{DIGITS}0", f"msg_{DIGITS}", "run_" + "٣" * 32])
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_run_id(text)
