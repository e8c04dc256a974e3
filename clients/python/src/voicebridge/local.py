"""The local key: what a control plane without a configured key wants, and keeps in a file of its user's own."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit


def local_key(url: str) -> str:
    """The key for a control plane on this machine; empty for any other, and if none was made."""
    if not _is_this_machine(url):
        return ""
    try:
        return _file().read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _file() -> Path:
    """Where it is: see docs/access.md, "Without any key"."""
    if folder := os.environ.get("VOICEBRIDGE_STATE_DIR", "").strip():
        return Path(folder) / "local-key"
    states = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (states if states.is_absolute() else Path.home() / ".local/state") / "voicebridge" / "local-key"


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
