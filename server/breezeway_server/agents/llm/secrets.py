"""Taking known secrets out of text that comes in pieces, whole or cut anywhere, without holding up the rest of it."""

import re
from collections.abc import Iterable

HIDDEN = "[redacted]"

# A secret's first characters may be seen: they are a vendor's "sk-" as a rule. So a text is held up only where it has
# come to more of a secret than that, which ordinary words do not.
_SHOWN = 3
_HEAD = _SHOWN + 1
# What is shorter is no secret but a word, like the "ollama" that some upstreams want in place of a key.
_SHORTEST = 16
_PLACE = re.compile(r"[.~]{0,2}/|https?://[^@]*$")


class Secrets:
    """What must not be said. Of the values given, each word of 16 characters and more is one: "Bearer" is none.

    Neither is a path or an address without a password in it, which the environment of a program has as well as keys.
    """

    def __init__(self, values: Iterable[str]) -> None:
        found = {
            word for value in values for word in value.split() if len(word) >= _SHORTEST and not _PLACE.match(word)
        }
        # Longest first: a secret that contains another must go as a whole.
        self.words = sorted(found, key=len, reverse=True)
        # With no word at all these match nothing.
        self.pattern = re.compile("|".join(map(re.escape, self.words)) or r"(?!)")
        self.heads = tuple({word[:_HEAD] for word in self.words})

    def __bool__(self) -> bool:
        return bool(self.words)

    def within(self, text: str) -> bool:
        """Whether there is a secret in the text."""
        return self.pattern.search(text) is not None

    def hide(self, text: str) -> str:
        """The text with `[redacted]` in place of all of a secret but its first three characters."""
        return self.pattern.sub(lambda found: found[0][:_SHOWN] + HIDDEN, text)


class SecretFilter:
    """Hides secrets in one text that comes in pieces: all that it gives out, joined, is what `Secrets.hide` says of it.

    Only a piece that ends in more than three characters of a secret's beginning is held back, from there on.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._heads = secrets.heads
        self._told = ""  # the last characters given out, in which a secret may have begun
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be given out now: the same object where there is nothing to hide."""
        if self._held:
            return self._sift(self._told + self._held + piece, last=False)
        text = self._told + piece
        # Every token comes here, so nothing but a look for each of the few beginnings that there are.
        for head in self._heads:
            if head in text:
                return self._sift(text, last=False)
        self._told = text[-_SHOWN:]
        return piece

    def end(self) -> str:
        """What is left to give out when the text is over."""
        return self._sift(self._told + self._held, last=True) if self._held else ""

    def _sift(self, text: str, *, last: bool) -> str:
        told = len(self._told)
        said: list[str] = []
        start = position = 0
        end = len(text)
        while (position := self._next_head(text, position)) >= 0:
            if not last and self._may_grow(text[position:]):
                end = position + _SHOWN
                break
            if (secret := self._secrets.pattern.match(text, position)) is not None:
                said += text[start : position + _SHOWN], HIDDEN
                start = position = secret.end()
            else:
                position += 1
        said.append(text[start:end])
        self._told = text[start:end][-_SHOWN:]
        self._held = text[end:]
        return "".join(said)[told:]

    def _next_head(self, text: str, position: int) -> int:
        found = [at for head in self._heads if (at := text.find(head, position)) >= 0]
        return min(found, default=-1)

    def _may_grow(self, rest: str) -> bool:
        return any(len(word) > len(rest) and word.startswith(rest) for word in self._secrets.words)
