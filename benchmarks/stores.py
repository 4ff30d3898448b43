"""How fast a finished file goes up to a store on this machine, beside a bare upload of it by the store's own library:
python -m benchmarks.stores [--megabytes N] [--repeats N]

Each upload is a process of its own, in turns; the server is another one. The table has seconds, CPU, and the peak of
memory beyond what the process had before.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUCKET = "data"
_SERVER = """
import sys, time
from tests.support.object_store import ObjectStore
store = ObjectStore()
print(store.address, flush=True)
sys.stdin.read()
"""


def bare(file: Path) -> None:
    """Upload a file in one request by botocore, with its defaults."""
    import botocore.session

    client = botocore.session.get_session().create_client("s3")
    with _measured(), file.open("rb") as data:
        client.put_object(Bucket=BUCKET, Key="bare", Body=data)


def ours(file: Path) -> None:
    """Upload a file as the pipeline does."""
    from pipeline.storage import DEFAULT_OPTIONS, StorePath, storage_of

    path = StorePath("s3", BUCKET, "ours", DEFAULT_OPTIONS, file.parent)
    storage = storage_of(path)
    with _measured():
        assert storage.put(path, file, None)


@contextmanager
def _measured() -> Iterator[None]:
    before, started, used = _peak(), time.perf_counter(), time.process_time()
    yield
    found = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used, "memory": _peak() - before}
    print(json.dumps(found))


def _peak() -> float:
    """Return the most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--upload", choices=("bare", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.upload is not None:
        {"bare": bare, "ours": ours}[given.upload](given.file)
        return
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "file"
        piece = os.urandom(10**6)
        with file.open("wb") as written:
            for _ in range(given.megabytes):
                written.write(piece)
        found: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
        for _ in range(given.repeats):
            for name, results in found.items():
                results.append(_in_turn(name, file))
    for name, results in found.items():
        middle = {key: statistics.median(one[key] for one in results) for key in results[0]}
        print(
            f"{name:<5} {middle['seconds']:6.2f} s  {middle['cpu']:6.2f} s CPU  {middle['memory']:6.0f} MB more memory"
        )
    ratios = [b["seconds"] / o["seconds"] for b, o in zip(found["bare"], found["ours"], strict=True)]
    print(f"speed of ours, of the bare upload's: {statistics.median(ratios):.2f}")


def _in_turn(name: str, file: Path) -> dict[str, float]:
    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    address = server.stdout.readline().decode().strip()
    from tests.support.object_store import KEY_ID, SECRET

    credentials = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    environment = {**os.environ, **credentials, "AWS_ENDPOINT_URL_S3": address}
    command = [sys.executable, "-m", "benchmarks.stores", "--upload", name, "--file", str(file)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
    finally:
        server.kill()
        server.wait()
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
