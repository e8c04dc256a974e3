"""A caller on aiortc: offers ordinary WebRTC audio to POST /sessions/start, talks, listens, and writes down both.

    python aiortc_caller.py --url http://127.0.0.1:3100 --speech utterance.wav --out DIR [--codec pcma]

Leaves DIR/heard.wav, DIR/report.json and DIR/keys.pcap. It judges nothing: test_callers.py and test_keys.py do. The
order of the talk is taken from what is heard, not from a clock: it lets the AI finish its greeting, speaks, lets it
finish its reply, has the bridge press keys, hangs up.
"""

import argparse
import asyncio
import fractions
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.codecs import CODECS
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av import AudioFrame

import capture
import contract
import speech

RATE = 48_000
FRAME = RATE // 50
CLOCKS = {"opus": 48_000, "PCMU": 8_000, "PCMA": 8_000}
# aiortc knows no telephone-event; it negotiates what it is told of, and leaves what comes of it to this file.
TELEPHONE_EVENT = RTCRtpCodecParameters(mimeType="audio/telephone-event", clockRate=8_000, channels=1, payloadType=126)

# How long each turn of the talk may take, and how long quiet must last before the other side counts as finished.
CONNECT_S = 10
TURN_S = 15
QUIET_S = 0.8

# What the bridge is asked to press, and the reports of each key: five, and two more of its end.
# Of the control plane, for its API; not to be confused with those that are pressed.
KEY = os.environ["VOICEBRIDGE_API_KEY"]
KEYS = "159#D"
REPORTS = 7


class Microphone(MediaStreamTrack):
    """Sends silence until told to speak, in real time, one 20 ms frame after another."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0
        self._began: float | None = None
        self._pending = np.zeros(0, dtype=np.int16)
        self.finished = asyncio.Event()

    def speak(self, audio: speech.Audio) -> None:
        positions = np.arange(0, len(audio.samples), audio.rate / RATE)
        samples = np.interp(positions, np.arange(len(audio.samples)), audio.samples)
        self._pending = (samples * 32767).astype(np.int16)

    async def recv(self) -> AudioFrame:
        if self._began is None:
            self._began = time.monotonic()
        await asyncio.sleep(max(0.0, self._began + self._sent / RATE - time.monotonic()))
        chunk, self._pending = self._pending[:FRAME], self._pending[FRAME:]
        if len(chunk) and not len(self._pending):
            self.finished.set()
        frame = AudioFrame.from_ndarray(np.pad(chunk, (0, FRAME - len(chunk))).reshape(1, -1), "s16", "mono")
        frame.sample_rate = RATE
        frame.pts = self._sent
        frame.time_base = fractions.Fraction(1, RATE)
        self._sent += FRAME
        return frame


class Ear:
    """Everything heard so far, and when it was last loud."""

    def __init__(self) -> None:
        self.chunks: list[np.ndarray] = []
        # The codec's own, known with the first frame.
        self.rate = RATE
        self.heard_samples = 0
        self._loud_at: float | None = None

    async def listen(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            channels = len(frame.layout.channels)
            self.rate = frame.sample_rate
            samples = frame.to_ndarray().reshape(-1, channels).mean(axis=1) / 32768
            self.chunks.append(samples)
            self.heard_samples += len(samples)
            if np.sqrt((samples**2).mean()) >= speech.SOUND_RMS:
                self._loud_at = time.monotonic()

    @property
    def heard_ms(self) -> float:
        return 1000 * self.heard_samples / self.rate

    def audio(self) -> speech.Audio:
        return speech.Audio(self.rate, np.concatenate(self.chunks) if self.chunks else np.zeros(0))

    async def turn(self, what: str) -> None:
        """Returns once something was said from now on and quiet followed."""
        self._loud_at = None
        deadline = time.monotonic() + TURN_S
        while self._loud_at is None or time.monotonic() - self._loud_at < QUIET_S:
            if time.monotonic() > deadline:
                heard = "nothing" if self._loud_at is None else "no end of it"
                raise TimeoutError(f"waited {TURN_S} s for {what} and heard {heard}")
            await asyncio.sleep(0.02)


class PacketLog:
    """RTP in order of arrival, decrypted. aiortc keeps no such record, so this looks on inside its receiver."""

    def __init__(self, receiver, clock: int) -> None:
        self.packets: list[tuple[int, int, int, int]] = []
        self.raw: list[bytes] = []
        self.events = 0
        self.before_keys = 0
        self._clock = clock
        handle = receiver._handle_rtp_packet

        async def observe(packet, arrival_time_ms):
            self.raw.append(packet.serialize())
            if packet.payload_type == TELEPHONE_EVENT.payloadType:
                # No decoder of aiortc's wants it.
                self.events += 1
                return
            self.packets.append((packet.ssrc, packet.payload_type, packet.sequence_number, packet.timestamp))
            await handle(packet, arrival_time_ms)

        receiver._handle_rtp_packet = observe

    async def pressed(self, reports: int) -> None:
        """Returns once so many reports on keys came, and audio after them."""
        deadline = time.monotonic() + TURN_S
        while self.events < reports or self.raw[-1][1] & 0x7F == TELEPHONE_EVENT.payloadType:
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {TURN_S} s for {reports} reports on keys and got {self.events}")
            await asyncio.sleep(0.02)

    def summary(self) -> dict:
        # Loopback does not reorder: anything but +1 and +20 ms is the sender's doing. While keys are pressed there is
        # no audio, and their packets are judged elsewhere.
        frame = self._clock // 50
        audio = self.packets[: self.before_keys] if self.events else self.packets
        steps = list(zip(audio, audio[1:]))
        return {
            "packets": len(self.packets),
            "ssrcs": sorted({packet[0] for packet in self.packets}),
            "payload_types": sorted({packet[1] for packet in self.packets}),
            "sequence_breaks": sum((b[2] - a[2]) % 65_536 != 1 for a, b in steps),
            "timestamp_breaks": sum((b[3] - a[3]) % 2**32 != frame for a, b in steps),
        }


def press(url: str, call_id: str) -> None:
    calls = contract.Calls(url.removeprefix("http://"), KEY)
    try:
        calls.send_keys(call_id, KEYS)
    finally:
        calls.close()


def post(url: str, body: dict | None = None) -> dict:
    request = urllib.request.Request(
        url,
        data=json.dumps(body or {}).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {KEY}"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"POST {url}: {error.code} {error.read().decode(errors='replace')}") from error


async def call(url: str, utterance: speech.Audio, codec: str, out: Path) -> None:
    if TELEPHONE_EVENT not in CODECS["audio"]:
        CODECS["audio"].append(TELEPHONE_EVENT)
    peer = RTCPeerConnection()
    microphone, ear = Microphone(), Ear()
    transceiver = peer.addTransceiver(microphone, direction="sendrecv")
    wanted = {f"audio/{codec}", TELEPHONE_EVENT.mimeType}
    capabilities = RTCRtpReceiver.getCapabilities("audio").codecs
    transceiver.setCodecPreferences([each for each in capabilities if each.mimeType in wanted])
    log = PacketLog(transceiver.receiver, CLOCKS[codec])
    connected = asyncio.Event()

    @peer.on("connectionstatechange")
    def _changed() -> None:
        if peer.connectionState == "connected":
            connected.set()

    await peer.setLocalDescription(await peer.createOffer())
    call_id = f"aiortc-{uuid.uuid4()}"
    started = await asyncio.to_thread(
        post,
        f"{url}/sessions/start",
        {"callId": call_id, "sdpOffer": peer.localDescription.sdp, "fromNumber": "15550100"},
    )
    await peer.setRemoteDescription(RTCSessionDescription(started["sdpAnswer"], "answer"))
    listening = asyncio.create_task(ear.listen(transceiver.receiver.track))
    try:
        await asyncio.wait_for(connected.wait(), CONNECT_S)
        await ear.turn("the greeting")
        spoke_at_ms = ear.heard_ms
        microphone.speak(utterance)
        await asyncio.wait_for(microphone.finished.wait(), TURN_S)
        await ear.turn("a reply")
        stats = await transceiver.receiver.getStats()
        keys_at_ms = ear.heard_ms
        log.before_keys = len(log.packets)
        before_keys = len(log.raw)
        await asyncio.to_thread(press, url, call_id)
        await log.pressed(REPORTS * len(KEYS))
        await asyncio.to_thread(post, f"{url}/sessions/{call_id}/stop")
    finally:
        await peer.close()
        listening.cancel()
        speech.write_wav(out / "heard.wav", ear.audio())
    remote = [s for s in stats.values() if s.type == "remote-outbound-rtp"]
    report = {
        "call_id": call_id,
        "started": started,
        "spoke_at_ms": spoke_at_ms,
        "keys_at_ms": keys_at_ms,
        "keys": KEYS,
        "sender_reports": len(remote),
        "rtp": log.summary(),
    }
    capture.write(out / "keys.pcap", log.raw[before_keys:])
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="the control plane, e.g. http://127.0.0.1:3100")
    parser.add_argument("--speech", required=True, type=Path, help="what to say: 16-bit WAV")
    parser.add_argument("--codec", choices=list(CLOCKS), default="opus", help="the one codec to offer")
    parser.add_argument("--out", required=True, type=Path, help="folder for heard.wav and report.json")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(call(options.url, speech.read_wav(options.speech), options.codec, options.out))
    except (TimeoutError, RuntimeError) as error:
        sys.exit(f"aiortc caller: {error}")


if __name__ == "__main__":
    main()
