"""What can be said against the sources without running them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
MYPY_CACHE = os.environ.get("VOICEBRIDGE_MYPY_CACHE", os.devnull)


@pytest.mark.parametrize(
    "arguments",
    [
        ("mypy", "--strict", "--cache-dir", MYPY_CACHE),
        ("ruff", "check", "--no-cache"),
        ("ruff", "format", "--check", "--no-cache"),
    ],
    ids=["types", "lint", "format"],
)
def test_nothing_is_found_by(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
