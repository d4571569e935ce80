from collections.abc import Callable, Iterator

import pytest
from breezeway_shim.dialects.chat_completions.projection import ChatProjection
from breezeway_shim.sse import KEEP_ALIVE
from openai._streaming import SSEDecoder

from tests.support.dialects import frames
from tests.support.logs import read_log


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def by_byte(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


@pytest.mark.parametrize("cut", [whole, by_byte])
@pytest.mark.parametrize("numbered", [True, False])
def test_comments_between_frames_are_nothing_to_the_official_sdk(
    cut: Callable[[bytes], Iterator[bytes]], numbered: bool
) -> None:
    sent = frames(ChatProjection(numbered=numbered), read_log("text"))
    data = KEEP_ALIVE + b"".join(frame + 2 * KEEP_ALIVE for frame in sent)
    events = list(SSEDecoder().iter_bytes(cut(data)))
    assert [f"data: {event.data}\n\n".encode() for event in events] == frames(ChatProjection(), read_log("text"))
