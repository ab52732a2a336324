"""A worker process: claims, records and prints the names of the stacks it did, until the queue is empty.

It says "ready" first and waits for a word, so that none has done all before another has started.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from driftwatch.model import StackDeclaration
from driftwatch.store import Store
from tests.store.samples import LEASE, START, finding, result


def main(state_dir: str, database: str, node: str, *arguments: str) -> None:
    store = Store.open(state_dir=Path(state_dir), database=database or None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    while job := store.claim(node, at=START, lease=LEASE):
        sys.stdout.write(f"{job.stack}\n")
        sys.stdout.flush()
        if "--hang" in arguments:
            threading.Event().wait()
        check = result(int(job.stack.path[-3:]), finding())
        store.record_check(check, declaration=StackDeclaration(id=job.stack), channels=["slack"], job=job)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
