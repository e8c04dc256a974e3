"""Both planes as real processes on loopback, configured by the documented variables only and ended by pid."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

START_S = 20
STOP_S = 15


class Reserved:
    """A free TCP port that stays ours: bound with SO_REUSEADDR and never listening, it leaves the process under test
    free to listen there while nobody else is given the number."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]


class Process:
    """A child with its log in a file."""

    def __init__(self, name: str, environment: dict[str, str], folder: Path) -> None:
        binaries = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / os.environ.get("PROFILE", "debug")
        binary = binaries / name
        if not binary.exists():
            raise FileNotFoundError(f"{binary} is missing: run `cargo build --workspace --bins` first")
        self.name = name
        self.log = folder / f"{name}.log"
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "RUST_LOG", "RUST_BACKTRACE") if key in os.environ}
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(
                [binary], env=kept | environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def running(self) -> bool:
        return self._child.poll() is None

    def stop(self) -> int:
        """Asks, then insists. The exit code: 0 when it ended in order, negative when it had to be killed."""
        if self.running():
            self._child.terminate()
            try:
                self._child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()

    def tail(self, lines: int = 60) -> str:
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return f"--- {self.name}, last lines of {self.log}\n" + "\n".join(text)


class Planes:
    """A control plane and one media node with the embedded AI. Ready once the node is registered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ports = [Reserved(), Reserved()]
        control, media = (reserved.port for reserved in self._ports)
        self.authority = f"127.0.0.1:{control}"
        self.url = f"http://{self.authority}"
        # Both planes of one machine and user: no key and no token is configured, and the local ones are found here.
        state = (folder / "state").resolve()
        self.control = Process(
            "voicebridge-control",
            {
                "VOICEBRIDGE_STATE_DIR": str(state),
                "VOICEBRIDGE_LISTEN": self.authority,
                "DATABASE_URL": f"sqlite://{folder / 'calls.db'}",
            },
            folder,
        )
        self.media = Process(
            "voicebridge-media",
            {
                "VOICEBRIDGE_STATE_DIR": str(state),
                "VOICEBRIDGE_MEDIA_LISTEN": f"127.0.0.1:{media}",
                "VOICEBRIDGE_CONTROL_URL": self.url,
                "VOICEBRIDGE_PROVIDER": "embedded",
                "VOICEBRIDGE_PUBLIC_IP": "127.0.0.1",
            },
            folder,
        )
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        self.key = (state / "local-key").read_text().strip()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_S
        problem = "nothing answered"
        while time.monotonic() < deadline:
            for process in (self.control, self.media):
                if not process.running():
                    raise RuntimeError(f"{process.name} ended at its start\n{process.tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                    problem = answer.read().decode()
                    if json.loads(problem)["nodes"] == 1:
                        return
            except (urllib.error.URLError, OSError) as error:
                problem = str(error)
            time.sleep(0.05)
        raise RuntimeError(f"not ready after {START_S} s: {problem}\n{self.control.tail()}\n{self.media.tail()}")

    def stop(self) -> dict[str, int]:
        """The node first, so that its goodbye is heard. Exit codes by name."""
        return {process.name: process.stop() for process in (self.media, self.control)}
