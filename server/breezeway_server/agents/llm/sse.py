"""Server-sent events out of byte chunks, by the WHATWG standard (HTML, 9.2.6), reduced to their data."""

_BOM = b"\xef\xbb\xbf"


class SseError(Exception):
    """An event is larger than the reader holds."""


class SseReader:
    """Turns the chunks of a stream, however cut, into the data of its events.

    Works on bytes, so that a chunk may end inside a character. Holds at most `max_event` bytes of an unfinished
    event. Comments and the fields `event`, `id` and `retry` are left out: chat completions give them no meaning.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_held", "_line", "_max_event")

    def __init__(self, *, max_event: int = 16 * 1024 * 1024) -> None:
        self._max_event = max_event
        self._line: list[bytes] = []  # the pieces of the line that has not ended
        self._data: list[bytes] = []  # the data lines of the event that has not ended
        self._held = 0  # bytes in both
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that end in `chunk`, in order, lines joined by LF.

        Raises `SseError` where an event grows too large.
        """
        if self._at_start or self._after_cr or self._data or b"\r" in chunk or b"\n\n" not in chunk:
            return self._feed_lines(chunk)
        if not self._line and chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and chunk.count(b"\n") == 2:
            # One event that came alone: a slow model's.
            return [chunk[6:-2]]
        # What nearly every chunk of every upstream is: events of one line each, and perhaps the start of another.
        blocks = chunk.split(b"\n\n")
        if self._line:
            blocks[0] = b"".join((*self._line, blocks[0]))
            self._line.clear()
            self._held = 0
        rest = blocks.pop()
        events: list[bytes] = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(block[6:])
            else:
                events += self._events([*block.split(b"\n"), b""])
        if rest:
            self._feed_lines(rest)
        return events

    def _feed_lines(self, chunk: bytes) -> list[bytes]:
        if self._after_cr and chunk:
            # The LF of a CRLF that was cut in two ends no further line.
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        lines = chunk.splitlines()
        if not lines:
            return []
        # `bytes.splitlines` knows CR, LF and CRLF, which are exactly the standard's three.
        rest = None
        if chunk.endswith(b"\r"):
            self._after_cr = True
        elif not chunk.endswith(b"\n"):
            rest = lines.pop()
        if self._line and lines:
            lines[0] = b"".join((*self._line, lines[0]))
            self._held -= sum(map(len, self._line))
            self._line.clear()
        if self._at_start and lines:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events = self._events(lines)
        if rest is not None:
            self._line.append(rest)
            self._hold(len(rest))
        return events

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        data = self._data
        for line in lines:
            if line.startswith(b"data:"):
                value = line[6:] if line.startswith(b"data: ") else line[5:]
                data.append(value)
                self._hold(len(value) + 1)
            elif not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
                    self._held = 0
            elif line == b"data":
                data.append(b"")
        return events

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._max_event:
            raise SseError
