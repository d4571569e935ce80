"""What is installed does not change from one day to the next."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Apart from `fuzz`: its one package has wheels for few versions of Python, and is asked for by hand.
_WANTED = [
    *_PROJECT["build-system"]["requires"],
    *_PROJECT["project"]["dependencies"],
    *_PROJECT["project"]["optional-dependencies"]["otel"],
    *_PROJECT["project"]["optional-dependencies"]["dev"],
]


def test_each_requirement_is_held_to_one_release_that_meets_it() -> None:
    lines = (_ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    held = {canonicalize_name(found.name): found.specifier for found in map(Requirement, lines)}
    for wanted in map(Requirement, _WANTED):
        (release,) = held[canonicalize_name(wanted.name)]
        assert release.operator == "=="
        assert wanted.specifier.contains(release.version)
