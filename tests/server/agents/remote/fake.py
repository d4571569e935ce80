"""A remote agent inside the test: it answers each call with what the test hands it, and keeps the calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc
from breezeway.v1 import agent_pb2, agent_service_pb2, item_pb2
from google.rpc import status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

Context = Any
Answer = Callable[[agent_service_pb2.RunRequest, Context], AsyncIterator[bytes]]


def steps(*said: agent_service_pb2.AgentStep) -> bytes:
    """One response."""
    return agent_service_pb2.RunResponse(steps=said).SerializeToString()


def text(words: str, choice_index: int = 0) -> agent_service_pb2.AgentStep:
    return agent_service_pb2.AgentStep(
        text_delta=agent_service_pb2.AgentTextDelta(text=words, choice_index=choice_index)
    )


def started(
    call_id: str, name: str = "add", executor: item_pb2.Executor.ValueType = item_pb2.EXECUTOR_SERVER
) -> agent_service_pb2.AgentStep:
    return agent_service_pb2.AgentStep(
        tool_call_started=agent_service_pb2.AgentToolCallStarted(call_id=call_id, name=name, executor=executor)
    )


def arguments(call_id: str, piece: str) -> agent_service_pb2.AgentStep:
    return agent_service_pb2.AgentStep(
        tool_arguments_delta=agent_service_pb2.AgentToolArgumentsDelta(call_id=call_id, arguments=piece)
    )


def completed(call_id: str) -> agent_service_pb2.AgentStep:
    return agent_service_pb2.AgentStep(tool_call_completed=agent_service_pb2.AgentToolCallCompleted(call_id=call_id))


def output(call_id: str, words: str) -> agent_service_pb2.AgentStep:
    part = item_pb2.ContentPart(text=item_pb2.Text(text=words))
    return agent_service_pb2.AgentStep(
        tool_call_output=agent_service_pb2.AgentToolCallOutput(call_id=call_id, content=[part])
    )


def needed(*call_ids: str) -> agent_service_pb2.AgentStep:
    return agent_service_pb2.AgentStep(approval_needed=agent_service_pb2.AgentApprovalNeeded(call_ids=call_ids))


def saying(*responses: bytes) -> Answer:
    """Ends well after these responses."""

    async def answer(request: agent_service_pb2.RunRequest, context: Context) -> AsyncIterator[bytes]:
        for response in responses:
            yield response

    return answer


def ending(code: grpc.StatusCode, message: str, *before: bytes, details: status_pb2.Status | None = None) -> Answer:
    """Ends with a status after these responses."""

    async def answer(request: agent_service_pb2.RunRequest, context: Context) -> AsyncIterator[bytes]:
        for response in before:
            yield response
        trailing = (("grpc-status-details-bin", details.SerializeToString()),) if details is not None else ()
        await context.abort(code, message, trailing)

    return answer


class FakeAgent:
    """Answers in turn with `answers`, the last of them again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.description = agent_service_pb2.DescribeResponse(
            protocol_version=1,
            description="A fake.",
            capabilities=agent_pb2.AgentCapabilities(client_tools=True, multiple_choices=True, resumable=True),
        )
        self.requests: list[agent_service_pb2.RunRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self.described = 0
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.address = ""
        self.health = health.aio.HealthServicer()

    @classmethod
    @asynccontextmanager
    async def serving(
        cls, *answers: Answer, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
    ) -> AsyncIterator[Self]:
        """An agent that listens, for the length of the block."""
        agent = cls(*answers)
        await agent.health.set("", health_pb2.HealthCheckResponse.SERVING)
        server = grpc.aio.server()
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Run": grpc.unary_stream_rpc_method_handler(agent._run),
            "Describe": grpc.unary_unary_rpc_method_handler(agent._describe),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("breezeway.v1.AgentService", handlers)])
        health_pb2_grpc.add_HealthServicer_to_server(agent.health, server)
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        agent.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        await server.start()
        try:
            yield agent
        finally:
            await server.stop(0)

    async def _describe(self, request: bytes, context: Context) -> bytes:  # noqa: ARG002 - as grpc calls it
        self.described += 1
        return self.description.SerializeToString()

    async def _run(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        self.requests.append(agent_service_pb2.RunRequest.FromString(request))
        self.metadata.append(dict(context.invocation_metadata()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.begun.set()
        try:
            async for response in answer(self.requests[-1], context):
                yield response
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise


def stalling(*before: bytes) -> Answer:
    """Says these responses, and then nothing for ever."""

    async def answer(request: agent_service_pb2.RunRequest, context: Context) -> AsyncIterator[bytes]:
        for response in before:
            yield response
        await asyncio.Event().wait()

    return answer
