"""What is wrong with a configuration, in words for who wrote it."""

from collections.abc import Collection

from pydantic import ValidationError
from pydantic_core import ErrorDetails


def faults_of(key: str, error: ValidationError, *, tags: Collection[str]) -> list[str]:
    """One sentence a fault, each beginning with its path under `key`; `tags` are those of the union that was read."""
    return [f"{key}{path_of(detail, tags)}: {words(detail)}." for detail in error.errors(include_url=False)]


def words(detail: ErrorDetails) -> str:
    """What is wrong with one value, and what to do."""
    match detail["type"]:
        case "extra_forbidden":
            return "is not a key of this kind of table; remove it or correct its spelling"
        case "missing":
            return "is missing; add it"
        case "union_tag_not_found" | "union_tag_invalid":
            return 'kind must be one of "demo", "grpc", "llm" and "python"; set it'
        case _:
            return detail["msg"].removeprefix("Value error, ")


def path_of(detail: ErrorDetails, tags: Collection[str]) -> str:
    """Where the value is, as it is written below the table: `.sampling.top_p`, `.aliases[1]`."""
    # The first step of the path is the tag of the union, which is no key of the file.
    keys = detail["loc"][1:] if detail["loc"] and detail["loc"][0] in tags else detail["loc"]
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
