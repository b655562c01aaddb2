"""One contender, as a process: takes the lock, holds it for a while, gives it back, until the time is over.

Prints one line of JSON: a list of [asked, granted, released], in nanoseconds of the clock that all processes share.
"""

from __future__ import annotations

import json
import sys
import time

from tests.bench.peers import PEERS, Servers


def main() -> None:
    task = json.loads(sys.argv[1])
    peer = PEERS[task["peer"]](Servers(task["postgres_dsn"], task["redis_port"]), task["lock"])
    peer.acquire()  # connections, first plans: not what is measured
    peer.release()
    print("ready", flush=True)
    sys.stdin.readline()
    rounds = []
    end = time.monotonic() + task["seconds"]
    while time.monotonic() < end:
        asked = time.monotonic_ns()
        peer.acquire()
        granted = time.monotonic_ns()
        time.sleep(task["hold"])
        released = time.monotonic_ns()  # before the call: what is measured is what others wait for
        peer.release()
        rounds.append([asked, granted, released])
    print(json.dumps(rounds), flush=True)


if __name__ == "__main__":
    main()
