"""Taking secrets out of what an upstream says."""

import re
from collections.abc import Iterable

_LOOKS_SECRET = re.compile(
    r"(?i:bearer)\s+[A-Za-z0-9._~+/*=-]{6,}"  # an Authorization header
    r"|\b(?:sk|pk|rk|gsk|xai|hf|org|proj)[-_][A-Za-z0-9_*.-]{3,}"  # keys and accounts by their customary prefixes
    r"|\bAIza[A-Za-z0-9_-]{20,}"
)
_MAX_LENGTH = 500


class Redactor:
    """Replaces the given secrets, and whatever looks like a key, by `[redacted]`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longest first: a secret that contains another must go as a whole. Very short ones would tear words apart.
        known = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text without secrets, on one line, at most 500 characters."""
        if self._known is not None:
            text = self._known.sub("[redacted]", text)
        text = " ".join(_LOOKS_SECRET.sub("[redacted]", text).split())
        # Cut last, so that no half of a secret escapes the patterns.
        return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…"
