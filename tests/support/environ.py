"""The environment of processes under test."""

import os
import re

_OURS = re.compile(r"BREEZEWAY_|OPENAI_|XDG_DATA_HOME")


def clean_environ() -> dict[str, str]:
    """This process's environment without settings of ours."""
    return {name: value for name, value in os.environ.items() if not _OURS.match(name)}
