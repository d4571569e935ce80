"""Headers that say which run and which conversation, in the words of those who use them."""

from collections.abc import Mapping

from aiohttp import web
from breezeway.v1 import event_pb2

# The first is ours; the others are what clients of other servers send, and get back.
CONVERSATION_HEADERS = ("X-Conversation-Id", "X-Hermes-Session-Id", "X-OpenHands-ServerConversation-ID")


def conversation_in(request: web.Request) -> str:
    """Return the conversation that a header of the request names; empty where none does."""
    return next((request.headers[name] for name in CONVERSATION_HEADERS if request.headers.get(name)), "")


def run_headers(request: web.Request, event: event_pb2.RunEvent) -> Mapping[str, str]:
    """Return the headers that a run's first event fills; the conversation under the name by which it was asked for."""
    headers = {"X-Run-Id": event.run_id}
    if conversation := event.run_queued.spec.conversation_id:
        name = next((name for name in CONVERSATION_HEADERS if request.headers.get(name)), CONVERSATION_HEADERS[0])
        headers[name] = conversation
    return headers
