"""What the tests share, and the plain closing line."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from plane import Control


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where no local key is, whatever this machine has."""
    monkeypatch.setenv("VOICEBRIDGE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest_asyncio.fixture
async def control() -> AsyncIterator[Control]:
    control = Control()
    server = await control.start()
    yield control
    await server.stop(None)


class ClosingLine:
    """``N passed, N failed`` alone on the last line."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed += 1
        elif report.when == "call" and report.passed:
            self.passed += 1

    def pytest_unconfigure(self) -> None:
        print(f"{self.passed} passed, {self.failed} failed")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ClosingLine())
