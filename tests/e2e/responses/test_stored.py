"""What is stored of a response, and how it is read, listed and deleted."""

import pytest

from tests.e2e.responses.openai_http import OpenAIHttp, message
from tests.support.model_server import ModelServer, answer

UNKNOWN = "resp_019a3e5c7d0070008000000000000001"
NOT_FOUND = (404, "not_found", None)
READS = (("GET", ""), ("GET", "?stream=true"), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"))


@pytest.mark.parametrize(("method", "below"), READS)
@pytest.mark.parametrize("unknown", [UNKNOWN, "nonsense", "resp_%2e%2e%2f", "ünïcode", "x" * 500])
async def test_an_unknown_response_is_not_found(openai_http: OpenAIHttp, method: str, below: str, unknown: str) -> None:
    assert await openai_http.error(method, f"/v1/responses/{unknown}{below}") == NOT_FOUND


@pytest.mark.parametrize(("method", "below"), READS)
async def test_a_response_that_is_not_stored_cannot_be_read(
    openai_http: OpenAIHttp, model: ModelServer, method: str, below: str
) -> None:
    response = await openai_http.create(input="hi", store=False)
    assert response["store"] is False
    assert await openai_http.error(method, f"/v1/responses/{response['id']}{below}") == NOT_FOUND


async def test_a_deleted_response_is_gone_with_its_items(openai_http: OpenAIHttp, model: ModelServer) -> None:
    response = await openai_http.create(input="hi")
    path = f"/v1/responses/{response['id']}"
    deleted = await openai_http.json("DELETE", path)
    assert deleted == {"id": response["id"], "object": "response", "deleted": True}
    for method, below in READS:
        assert await openai_http.error(method, f"{path}{below}") == NOT_FOUND
    refused = await openai_http.refused(input="hi", previous_response_id=response["id"])
    assert refused == (400, "previous_response_not_found", "previous_response_id")


async def test_a_string_is_one_message_item(openai_http: OpenAIHttp, model: ModelServer) -> None:
    response = await openai_http.create(input="hi")
    page = await openai_http.input_items(response["id"])
    (item,) = page["data"]
    assert item == {
        "id": item["id"],
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    assert item["id"].startswith("msg_")
    assert not page["has_more"]
    assert await openai_http.input_items(response["id"]) == page, "ids are stable"


async def test_input_items_come_in_pages_newest_first(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(answer("so"))
    said = [f"{number:02}" for number in range(25)]
    response = await openai_http.create(input=[message("user", text) for text in said])
    whole = await openai_http.input_items(response["id"], limit=100)
    assert [item["content"][0]["text"] for item in whole["data"]] == said[::-1]
    assert not whole["has_more"]
    first = await openai_http.input_items(response["id"])
    assert (first["data"], first["has_more"]) == (whole["data"][:20], True)
    rest = await openai_http.input_items(response["id"], after=first["last_id"])
    assert (rest["data"], rest["has_more"]) == (whole["data"][20:], False)
    upwards = await openai_http.input_items(response["id"], order="asc", limit=3)
    assert (upwards["data"], upwards["has_more"]) == (whole["data"][:-4:-1], True)
    more = await openai_http.input_items(response["id"], order="asc", limit=3, after=upwards["last_id"])
    assert more["data"] == whole["data"][-4:-7:-1]
    nothing = await openai_http.input_items(response["id"], order="asc", after=whole["first_id"])
    assert (nothing["data"], nothing["first_id"], nothing["has_more"]) == ([], None, False)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=0", (400, "invalid_value", "limit")),
        ("limit=101", (400, "invalid_value", "limit")),
        ("order=up", (400, "invalid_value", "order")),
        ("after=msg_unknown", (404, "not_found", None)),
    ],
)
async def test_a_page_that_cannot_be_is_refused(
    openai_http: OpenAIHttp, model: ModelServer, query: str, expected: tuple[int, str, str | None]
) -> None:
    response = await openai_http.create(input="hi")
    assert await openai_http.error("GET", f"/v1/responses/{response['id']}/input_items?{query}") == expected
