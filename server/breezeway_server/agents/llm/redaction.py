"""Taking secrets out of what an upstream says."""

import re
from collections.abc import Iterable

from breezeway_server.agents.llm.secrets import HIDDEN, Secrets

_LOOKS_SECRET = re.compile(
    r"(?i:bearer)\s+[A-Za-z0-9._~+/*=-]{6,}"  # an Authorization header
    r"|\b(?:sk|pk|rk|gsk|xai|hf|org|proj)[-_][A-Za-z0-9_*.-]{3,}"  # keys and accounts by their customary prefixes
    r"|\bAIza[A-Za-z0-9_-]{20,}"
)
_MAX_LENGTH = 500


class Redactor:
    """Replaces the given secrets, and whatever looks like a key, by `[redacted]`.

    That is for errors, which are short and foreign; `secrets` are for what a model or a tool says, of which nothing
    may go but the secrets themselves.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        secrets = list(secrets)
        self.secrets = Secrets(secrets)
        # Longest first: a secret that contains another must go as a whole. Very short ones would tear words apart.
        known = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text without secrets, on one line, at most 500 characters."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = " ".join(_LOOKS_SECRET.sub(HIDDEN, text).split())
        # Cut last, so that no half of a secret escapes the patterns.
        return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…"
