"""Programs of this repository that tests stand against: started, asked, ended."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
END_S = 20
ANSWER_S = 60


@contextmanager
def running(name: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Starts a program that prints one line of JSON once it is ready, and ends when its standard input does."""
    binaries = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / os.environ.get("PROFILE", "debug")
    binary = binaries / name
    if not binary.exists():
        raise FileNotFoundError(f"{binary} is missing: run `cargo build --workspace --bins` first")
    with subprocess.Popen([binary, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} ended at its start with {child.wait(END_S)}")
        try:
            yield json.loads(line)
        finally:
            child.stdin.close()
            try:
                child.wait(END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                raise


def post(url: str, body: object = None) -> Any:
    """The answer to JSON, which is JSON."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
        return json.load(answer)
