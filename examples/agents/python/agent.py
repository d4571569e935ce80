"""A Breezeway agent in Python: says again what it was told, and does what `breezeway agent check` asks for.

`python agent.py 127.0.0.1:50061`. Needs `pip install breezeway`, for grpcio and the stubs of breezeway/v1.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
from breezeway.v1 import agent_pb2, agent_service_pb2_grpc, item_pb2, run_pb2
from breezeway.v1 import agent_service_pb2 as pb
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def text_of(items: list[item_pb2.Item]) -> str:
    return "".join(part.text.text for item in items for part in item.message.content)


def call(call_id: str, name: str, arguments: str, executor: item_pb2.Executor.ValueType) -> list[pb.AgentStep]:
    return [
        pb.AgentStep(tool_call_started=pb.AgentToolCallStarted(call_id=call_id, name=name, executor=executor)),
        pb.AgentStep(tool_arguments_delta=pb.AgentToolArgumentsDelta(call_id=call_id, arguments=arguments)),
        pb.AgentStep(tool_call_completed=pb.AgentToolCallCompleted(call_id=call_id)),
    ]


def output(call_id: str, text: str) -> pb.AgentStep:
    parts = [item_pb2.ContentPart(text=item_pb2.Text(text=text))]
    return pb.AgentStep(tool_call_output=pb.AgentToolCallOutput(call_id=call_id, content=parts))


class Agent(agent_service_pb2_grpc.AgentServiceServicer):
    def __init__(self) -> None:
        self.cancelled: set[str] = set()

    async def Describe(self, request: pb.DescribeRequest, context: object) -> pb.DescribeResponse:  # noqa: ARG002, N802
        takes = agent_pb2.AgentCapabilities(client_tools=True, resumable=True)
        return pb.DescribeResponse(protocol_version=1, description="Says again what it is told.", capabilities=takes)

    async def Run(self, request: pb.RunRequest, context: object) -> AsyncIterator[pb.RunResponse]:  # noqa: ARG002, N802
        try:
            async for steps in self.work(request):
                yield pb.RunResponse(steps=steps)
        except (asyncio.CancelledError, GeneratorExit):  # The run was cancelled: stop model calls and tools here.
            self.cancelled.add(request.run_id)
            raise

    async def work(self, request: pb.RunRequest) -> AsyncIterator[list[pb.AgentStep]]:  # noqa: C901 - one case an ask
        ask = text_of([item for item in (*request.history, *request.input) if item.HasField("message")][-1:])
        answer = f"You said: {ask}"
        made = {item.function_call.call_id for item in request.output}
        answered = {item.function_call_output.call_id for item in (*request.input, *request.output)}
        match ask.split(" "):
            case ["conformance:", "cancel"]:
                while True:
                    yield [pb.AgentStep(text_delta=pb.AgentTextDelta(text="on and "))]
                    await asyncio.sleep(0.02)
            case ["conformance:", "cancelled", run_id]:
                answer = "yes" if run_id in self.cancelled else "no"
            case ["conformance:", "error"]:
                error = run_pb2.RunError(reason="EXAMPLE_FAILURE", message="As asked.", code=13)
                yield [pb.AgentStep(run_failed=error)]
                return
            case ["conformance:", "reasoning"]:
                yield [pb.AgentStep(reasoning_delta=pb.AgentReasoningDelta(text="They want me to think."))]
            case ["conformance:", "big"]:
                answer = "0123456789abcde " * 65536
            case ["conformance:", "tool"] if "add_1" not in answered:
                yield [*call("add_1", "add", '{"a":1,"b":2}', item_pb2.EXECUTOR_SERVER), output("add_1", "3")]
            case ["conformance:", "client", "tool"] if request.spec.tools and "theirs_1" not in answered:
                tool = request.spec.tools[0].function
                yield call("theirs_1", tool.name, '{"text":"hello"}', item_pb2.EXECUTOR_CLIENT)
                return
            case ["conformance:", "approval"] if "delete_1" not in answered:
                granted = {approval.call_id: approval.granted for approval in request.approvals}
                if "delete_1" not in granted:
                    begun = [] if "delete_1" in made else call("delete_1", "delete", "{}", item_pb2.EXECUTOR_SERVER)
                    yield [*begun, pb.AgentStep(approval_needed=pb.AgentApprovalNeeded(call_ids=["delete_1"]))]
                    return
                yield [output("delete_1", "deleted" if granted["delete_1"] else "nobody may")]
        rest = answer.removeprefix(text_of(list(request.output)))
        for start in range(0, len(rest), size := max(8, len(rest) // 16)):
            yield [pb.AgentStep(text_delta=pb.AgentTextDelta(text=rest[start : start + size]))]


async def main(address: str) -> None:
    server, healthy = grpc.aio.server(), health.aio.HealthServicer()
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(Agent(), server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port(address)
    await server.start()
    print(f"listening on {address.rpartition(':')[0]}:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
