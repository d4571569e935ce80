"""Admission: what a run asks for against what its agent takes and what is there."""

from collections.abc import Callable, Collection, Sequence

from breezeway.v1 import agent_pb2, conversation_pb2, item_pb2, run_pb2

from breezeway_server.agents.base import Agent
from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.item_ids import identify
from breezeway_server.errors import FailedPrecondition, InvalidRequest, NotFound
from breezeway_server.events.legal import TERMINAL_STATES
from breezeway_server.store.base import Store


def find_agent(agents: AgentRegistry, name: str, allowed: Collection[str] = (), *, field: str = "spec.agent") -> Agent:
    """Return the agent of that name or alias. Raises `NotFound`, also where `allowed` names others alone.

    `field` is where the caller named it.
    """
    agent = agents.get(name)
    if agent is None or (allowed and agent.info.name not in allowed):
        message = f"There is no agent {name!r}; list the agents to see which there are."
        raise NotFound("AGENT_NOT_FOUND", message, field=field)
    return agent


def check_capabilities(
    capabilities: agent_pb2.AgentCapabilities, spec: run_pb2.RunSpec, items: Sequence[item_pb2.Item]
) -> None:
    """Raise `InvalidRequest` where a run asks for more than its agent takes."""
    if spec.tools and not capabilities.client_tools:
        raise InvalidRequest("spec.tools", f"Agent {spec.agent} does not take tools of the caller; leave them out.")
    if spec.sampling.n > 1 and not capabilities.multiple_choices:
        raise InvalidRequest("spec.sampling.n", f"Agent {spec.agent} gives one answer at a time; set n to 1.")
    for index, item in enumerate(items):
        field = "function_call_output" if item.HasField("function_call_output") else "message"
        for at, part in enumerate(getattr(item, field).content):
            kind = part.WhichOneof("kind")
            if (kind == "image" and agent_pb2.CONTENT_KIND_IMAGE not in capabilities.content_kinds) or (
                kind == "file" and agent_pb2.CONTENT_KIND_FILE not in capabilities.content_kinds
            ):
                raise InvalidRequest(
                    f"input[{index}].{field}.content[{at}]",
                    f"Agent {spec.agent} does not take content of type {kind}.",
                    reason="UNSUPPORTED_CONTENT_TYPE",
                )


async def check_history(store: Store, tenant: str, spec: run_pb2.RunSpec) -> None:
    """Raise `NotFound` or `FailedPrecondition` where the run cannot go on from its previous one."""
    if not spec.previous_run_id:
        return
    previous = await store.run_head(tenant, spec.previous_run_id)
    if previous is None:
        message = f"There is no stored run {spec.previous_run_id} to go on from."
        raise NotFound("PREVIOUS_RUN_NOT_FOUND", message, field="spec.previous_run_id")
    if previous.state not in TERMINAL_STATES:
        raise FailedPrecondition("PREVIOUS_RUN_NOT_OVER", f"{spec.previous_run_id} is not over; wait for its end.")


async def resolve_references(
    store: Store, tenant: str, items: Sequence[item_pb2.Item], *, field: str = "input"
) -> list[item_pb2.Item]:
    """Return the items with those that are referred to in place of their references. Raises `NotFound`.

    `field` is the list's name in the request.
    """
    wanted = [item.item_reference.id for item in items if item.HasField("item_reference")]
    if not wanted:
        return list(items)
    found = await store.find_items(tenant, wanted)
    resolved = []
    for index, item in enumerate(items):
        if item.HasField("item_reference"):
            there = found.get(item.item_reference.id)
            if there is None:
                message = f"{field}[{index}]: there is no item {item.item_reference.id}."
                raise NotFound("ITEM_NOT_FOUND", message, field=f"{field}[{index}].item_reference.id")
            resolved.append(there)
        else:
            resolved.append(item)
    return resolved


async def check_call_outputs(
    store: Store, tenant: str, spec: run_pb2.RunSpec, items: Sequence[item_pb2.Item], new_run_id: Callable[[], str]
) -> None:
    """Raise `InvalidRequest` where an output answers a call that is nowhere before it.

    `new_run_id` makes the id of a run that comes after all that there are; it is rarely needed.
    """
    calls: set[str] = set()
    history: Sequence[item_pb2.Item] | None = None
    for index, item in enumerate(items):
        if item.HasField("function_call"):
            calls.add(item.function_call.call_id)
        elif item.HasField("function_call_output") and item.function_call_output.call_id not in calls:
            if history is None:
                history = await store.history(tenant, spec, new_run_id())
                calls.update(earlier.function_call.call_id for earlier in history if earlier.HasField("function_call"))
            call_id = item.function_call_output.call_id
            if call_id not in calls:
                raise InvalidRequest(
                    f"input[{index}].function_call_output.call_id",
                    f"No tool call {call_id!r} comes before this output; send the call too, or go on from its run.",
                    reason="CALL_NOT_FOUND",
                )


async def open_conversation(store: Store, tenant: str, conversation_id: str, now_ns: int) -> None:
    """Create the conversation where a caller names a new one; raise `NotFound` where it has the form of our own ids."""
    if await store.get_conversation(tenant, conversation_id) is not None:
        return
    if conversation_id.startswith("conv_"):
        message = f"There is no conversation {conversation_id}."
        raise NotFound("CONVERSATION_NOT_FOUND", message, field="spec.conversation_id")
    conversation = conversation_pb2.Conversation(id=conversation_id)
    conversation.create_time.FromNanoseconds(now_ns)
    await store.create_conversation(tenant, conversation, ())


def limit_tokens(spec: run_pb2.RunSpec, agent: agent_pb2.Agent, server: int | None) -> None:
    """Write the smallest of what the caller, the agent and the server allow into the spec; None allows any number."""
    limits = [of.max_total_tokens for of in (spec, agent) if of.HasField("max_total_tokens")]
    if server is not None:
        limits.append(server)
    if limits:
        spec.max_total_tokens = min(limits)


def take_in(items: Sequence[item_pb2.Item], run_id: str, now_ns: int) -> list[item_pb2.Item]:
    """Return copies of the items as input of a run, with ids of their own; whatever they say, they are whole."""
    taken = []
    for position, item in enumerate(items):
        copy = item_pb2.Item()
        copy.CopyFrom(item)
        identify(copy, run_id, position)
        copy.create_time.FromNanoseconds(now_ns)
        copy.status = item_pb2.ITEM_STATUS_COMPLETED
        copy.ClearField("incomplete_reason")
        if copy.HasField("function_call") and not copy.function_call.executor:
            copy.function_call.executor = item_pb2.EXECUTOR_CLIENT
        taken.append(copy)
    return taken
