"""What lies in `deploy/`, parsed."""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def load_yaml(path: str) -> Any:
    """The only document of a file below `deploy/`."""
    return yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))


def load_all_yaml(path: str) -> list[Any]:
    """All documents of a file below `deploy/`."""
    return list(yaml.safe_load_all((DEPLOY / path).read_text(encoding="utf-8")))


def load_json(path: str) -> Any:
    """A file below `deploy/`."""
    return json.loads((DEPLOY / path).read_text(encoding="utf-8"))
