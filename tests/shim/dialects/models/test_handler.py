import aiohttp
import grpc
import openai
from breezeway.v1 import agent_pb2
from breezeway.v1.agent_registry_service_pb2 import GetAgentResponse, ListAgentsRequest, ListAgentsResponse
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.fake_server import FakeServer, refusal

DEMO = agent_pb2.Agent(name="demo", aliases=["default"], create_time=Timestamp(seconds=1_793_000_000))
ASSISTANT = agent_pb2.Agent(name="assistant")


async def test_models_are_the_agents_of_all_pages_and_their_aliases(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    def page(request: ListAgentsRequest) -> ListAgentsResponse:
        if request.page_token:
            return ListAgentsResponse(agents=[ASSISTANT])
        return ListAgentsResponse(agents=[DEMO], next_page_token="2")

    server.replies["ListAgents"] = page
    async with http.get("/v1/models") as response:
        models = await response.json()
    assert models["object"] == "list"
    assert [model["id"] for model in models["data"]] == ["demo", "default", "assistant"]
    assert models["data"][0]["created"] == 1_793_000_000
    assert {model["object"] for model in models["data"]} == {"model"}


async def test_the_official_sdk_reads_a_model(shim_url: str, server: FakeServer) -> None:
    server.replies["GetAgent"] = GetAgentResponse(agent=DEMO)
    async with openai.AsyncOpenAI(base_url=f"{shim_url}/v1", api_key="k") as sdk:
        model = await sdk.models.retrieve("default")
    assert (model.id, model.created, model.owned_by) == ("default", 1_793_000_000, "breezeway")


async def test_an_unknown_model_says_where_the_known_ones_are(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies["GetAgent"] = refusal(grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "No.")
    async with http.get("/v1/models/no/such") as response:
        error = (await response.json())["error"]
        assert response.status == 404
    assert error["code"] == "model_not_found"
    assert "GET /v1/models" in error["message"]
    assert "no/such" in error["message"]
