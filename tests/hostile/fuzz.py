"""`python -m tests.hostile.fuzz ENTRY …`: libFuzzer looks for bytes that break one of the entries, guided by coverage.

Needs `atheris`. Further arguments are libFuzzer's own, as `-max_total_time=60`; what breaks an entry is written to a
file, and belongs among the examples of its test then.
"""

import sys

import atheris

with atheris.instrument_imports(include=["breezeway_server", "breezeway_shim"]):
    from tests.hostile.entries import ENTRIES


def main() -> None:
    """Fuzz the entry that the first argument names, until libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    atheris.Setup([sys.argv[0], *arguments], ENTRIES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
