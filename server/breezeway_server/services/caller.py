"""Who is calling."""

from typing import Final

# A server without keys has one tenant: whoever can reach it.
TENANT: Final = "default"
