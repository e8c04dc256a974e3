"""What the tests share: the planes, one talk per kind of caller, and the plain closing line."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import contract
import planes as processes
import speech

HERE = Path(__file__).resolve().parent
CLIPS = processes.REPOSITORY / "media-plane/session/assets/embedded"
UTTERANCE = processes.REPOSITORY / "tests/simulator/fixtures/en/opening-hours.wav"
# Logs, recordings and reports stay here to be looked at and listened to.
OUTPUT = processes.REPOSITORY / "target/interop"

CALL_S = 90
COMMANDS = {
    "aiortc": [sys.executable, str(HERE / "aiortc_caller.py")],
    "chromium": ["node", str(HERE / "chromium_caller.mjs")],
}
# Who calls in which codec, and the name of the codec in SDP.
CALLERS = {
    "aiortc": ("opus", "opus/48000/2"),
    "aiortc-pcmu": ("PCMU", "PCMU/8000"),
    "aiortc-pcma": ("PCMA", "PCMA/8000"),
    "chromium": ("opus", "opus/48000/2"),
    "chromium-pcma": ("PCMA", "PCMA/8000"),
}


@dataclass(frozen=True)
class Clip:
    name: str
    text: str
    audio: speech.Audio


@dataclass(frozen=True)
class Talk:
    """One finished call: what the caller noted, what it heard, and what the control plane kept of it."""

    caller: str
    encoding: str
    report: dict
    # Until keys are pressed, and from there on.
    heard: speech.Audio
    keys_heard: speech.Audio
    folder: Path
    record: dict
    events: list[dict]
    said: speech.Audio


@pytest.fixture(scope="session")
def planes():
    running = processes.Planes(OUTPUT / "planes")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    with (CLIPS / "clips.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    return [Clip(row["path"], row["text"], speech.read_wav(CLIPS / row["path"])) for row in rows]


@pytest.fixture(scope="session", params=list(CALLERS))
def talk(request, planes) -> Talk:
    folder = OUTPUT / request.param
    folder.mkdir(parents=True, exist_ok=True)
    said = speech.read_wav(UTTERANCE)
    # A real microphone does not stop when the sentence does.
    utterance = folder / "said.wav"
    quiet = np.zeros(30 * said.rate)
    speech.write_wav(utterance, speech.Audio(said.rate, np.concatenate([said.samples, quiet])))
    stack = request.param.split("-")[0]
    codec, encoding = CALLERS[request.param]
    source = utterance if stack == "chromium" else UTTERANCE
    command = [*COMMANDS[stack], "--url", planes.url, "--speech", str(source), "--out", str(folder), "--codec", codec]
    done = subprocess.run(
        command, timeout=CALL_S, capture_output=True, text=True, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "VOICEBRIDGE_API_KEY": planes.key}
    )
    if done.returncode != 0:
        pytest.fail(f"{done.stdout}{done.stderr}\n{planes.control.tail()}\n{planes.media.tail()}", pytrace=False)
    report = json.loads((folder / "report.json").read_text())
    calls = contract.Calls(planes.authority, planes.key)
    try:
        record = calls.get(report["call_id"])
        record["transcripts"] = calls.transcripts(report["call_id"])
        events = calls.events(report["call_id"])
    finally:
        calls.close()
    (folder / "record.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    heard = speech.read_wav(folder / "heard.wav")
    before, after = heard.until(report["keys_at_ms"]), heard.since(report["keys_at_ms"])
    return Talk(request.param, encoding, report, before, after, folder, record, events, said)


class ClosingLine:
    """`N passed, N failed` alone on the last line."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            self.failed += 1
        elif report.when == "call" and report.passed:
            self.passed += 1

    def pytest_unconfigure(self) -> None:
        print(f"{self.passed} passed, {self.failed} failed")


def pytest_configure(config) -> None:
    config.pluginmanager.register(ClosingLine())
