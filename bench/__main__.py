"""Measures everything that there is to measure, one after the other: `python -m bench`."""

import uvloop

from bench import compare, direct, first_token, history, holding


async def main() -> None:
    """Run all of them, and print what they find as they find it."""
    await first_token.main()
    await compare.compare([])
    await direct.direct()
    await history.history()
    await holding.holding()


if __name__ == "__main__":
    uvloop.run(main())
