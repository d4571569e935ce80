"""A process that appends to a store as fast as it can, and says what has been acknowledged; to be killed."""

import asyncio
import sys
from pathlib import Path

from breezeway_server.store.sqlite import open_sqlite

from tests.server.store.builders import StoredRun


async def main(directory: Path) -> None:
    store = open_sqlite(directory, "NORMAL")
    while True:
        run = StoredRun()
        run.writer.started()
        for number in range(20):
            run.say(f"message {number}")
            assert not await store.append([run.take()])
            sys.stdout.write(f"{run.id} {len(run.events)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
