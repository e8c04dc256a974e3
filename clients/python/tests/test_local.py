"""The local key: found where the control plane keeps it, shown to this machine only."""

from pathlib import Path

import pytest
from plane import Context, Control

from voicebridge import Client, GetCallRequest
from voicebridge.control.v1 import call_pb2
from voicebridge.local import local_key

HERE = ["http://127.0.0.1:3100", "http://localhost:3100", "http://LOCALHOST", "http://[::1]:3100", "https://127.1.2.3"]
ELSEWHERE = [
    "https://voice.example",
    "http://10.0.0.1:3100",
    "http://localhost.example",
    "http://127.0.0.1.example",
    "",
]


async def found(_: call_pb2.GetCallRequest, __: Context) -> call_pb2.GetCallResponse:
    return call_pb2.GetCallResponse()


def put(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "local-key").write_text("vb_local_7\n")


def test_it_is_for_this_machine_only(state_dir: Path) -> None:
    assert [local_key(url) for url in HERE] == [""] * len(HERE), "none was made"
    put(state_dir)
    assert [local_key(url) for url in HERE] == ["vb_local_7"] * len(HERE)
    assert [local_key(url) for url in ELSEWHERE] == [""] * len(ELSEWHERE)


def test_it_is_where_the_control_plane_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEBRIDGE_STATE_DIR", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative/does/not/count")
    assert local_key(HERE[0]) == ""
    put(tmp_path / "home/.local/state/voicebridge")
    assert local_key(HERE[0]) == "vb_local_7"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    assert local_key(HERE[0]) == ""
    put(tmp_path / "states/voicebridge")
    assert local_key(HERE[0]) == "vb_local_7"


async def test_a_client_without_a_key_shows_it_and_one_with_a_key_does_not(control: Control, state_dir: Path) -> None:
    put(state_dir)
    control.get = found
    for key, shown in ((None, "vb_local_7"), ("", "vb_local_7"), ("key-7", "key-7")):
        async with Client(control.url, api_key=key) as client:
            await client.calls.GetCall(GetCallRequest())
        assert control.metadata[-1]["authorization"] == f"Bearer {shown}"
