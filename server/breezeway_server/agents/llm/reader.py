"""From the chunks of a response's body to steps: the path that every token takes."""

from breezeway_server.agents.llm import errors
from breezeway_server.agents.llm.hiding import HidingSteps
from breezeway_server.agents.llm.sse import SseError, SseReader
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.agents.steps import Step


class StepReader:
    """Reads one response into `fold`. `fault` is what stopped it: the steps before it are good and come first."""

    __slots__ = ("_fold", "_hiding", "_model", "_seen_bytes", "_seen_events", "_sse", "fault")

    def __init__(self, model: str, fold: ModelStream) -> None:
        self._model = model
        self._fold = fold
        self._sse = SseReader()
        self._hiding = HidingSteps(fold.secrets) if fold.secrets else None
        self._seen_bytes = False
        self._seen_events = False
        self.fault: errors.UpstreamError | None = None

    @property
    def done(self) -> bool:
        """The upstream has said that nothing more comes."""
        return self._fold.done

    def feed(self, chunk: bytes) -> list[Step]:
        """The steps that came whole with this chunk, however it was cut."""
        self._seen_bytes = True
        steps: list[Step] = []
        try:
            if events := self._sse.feed(chunk):
                self._seen_events = True
                self._fold.feed(events, steps)
        except errors.UpstreamError as error:
            self.fault = error
        except SseError:
            self.fault = errors.malformed(self._model, "an event that is too large")
        if self._hiding is None or not (steps or self.fault):
            return steps
        return self._hiding.feed(steps) if self.fault is None else self._hiding.end(steps)

    def finish(self) -> list[Step]:
        """What is left to say at the end of the body. Raises `UpstreamError` where the end came too early."""
        if self._seen_bytes and not self._seen_events:
            raise errors.malformed(self._model, "something else than events")
        steps = self._fold.finish()
        return steps if self._hiding is None else self._hiding.end(steps)
