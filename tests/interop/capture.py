"""RTP packets as a capture, and what Wireshark reads in them.

The packets come out of a foreign stack decrypted; headers below RTP are made up.
"""

import csv
import struct
import subprocess
from pathlib import Path

PORT = 5_004
LOOPBACK = bytes([127, 0, 0, 1])
# LINKTYPE_IPV4: packets begin with their IP header.
LINK_TYPE = 228
TSHARK_S = 60


def write(path: Path, packets: list[bytes]) -> None:
    """One packet every 20 ms."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, LINK_TYPE))
        for index, rtp in enumerate(packets):
            udp = struct.pack(">HHHH", PORT, PORT, 8 + len(rtp), 0) + rtp
            length = 20 + len(udp)
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, index & 0xFFFF, 0, 64, 17, 0, LOOPBACK, LOOPBACK)
            file.write(struct.pack("<IIII", index // 50, index % 50 * 20_000, length, length) + ip + udp)


def read(path: Path, telephone_event: int) -> list[dict[str, str]]:
    """Each packet by Wireshark's names of its fields; those of events are empty in packets that are none."""
    fields = ["rtp.p_type", "rtp.seq", "rtp.timestamp", "rtp.marker", "rtp.ssrc"]
    fields += [f"rtpevent.{name}" for name in ("event_id", "end_of_event", "reserved", "volume", "duration")]
    command = ["tshark", "-n", "-r", str(path), "-d", f"udp.port=={PORT},rtp"]
    command += ["-d", f"rtp.pt=={telephone_event},rtpevent", "-T", "fields", "-E", "header=y", "-E", "separator=,"]
    command += [part for name in fields for part in ("-e", name)]
    done = subprocess.run(command, timeout=TSHARK_S, capture_output=True, text=True, check=True)
    return list(csv.DictReader(done.stdout.splitlines()))
