"""Foreign WebRTC stacks call a real control plane and a real media node, and talk with the embedded AI.

Every test below judges the same talk, with aiortc and with headless Chromium as the caller, in Opus and in G.711: the
caller listens to the greeting, says one sentence, listens to the reply, and after some keys (test_keys.py) hangs up over
HTTP.
"""

import re

import pytest

import speech

# A clip heard through two codecs and a jitter buffer scores 0.95 and more against itself; other clips stay below 0.7.
SAME = 0.9
# At the very beginning of a stream a browser's jitter buffer stretches and shrinks speech until it has settled.
SAME_WHILE_SETTLING = 0.75

# Voice detection begins a little early and ends a little late.
HEARD_SLACK_S = 0.7

AIORTC = ["aiortc", "aiortc-pcmu", "aiortc-pcma"]
CHROMIUM = ["chromium", "chromium-pcma"]

MILESTONES = ["STAGE_WA_CALL_CONNECT", "STAGE_VOICE_BRIDGE_SESSION_CREATED", "STAGE_MEDIA_BRIDGE_ACTIVE"]


def spoken(talk, speaker: str) -> list[str]:
    return [entry["text"] for entry in talk.record["transcripts"] if entry["speaker"] == f"SPEAKER_{speaker}"]


# The greeting and the reply; if the keys of a caller are answered too, that is not of the talk.
SENTENCES = 2


def clip_heard(audio: speech.Audio, clips, same: float):
    """The one clip that a recording contains, and no other could be meant."""
    ranked = sorted(((speech.find(clip.audio, audio).correlation, clip.name) for clip in clips), reverse=True)
    (best, name), (second, _) = ranked[:2]
    assert best >= same and best - second >= 0.1, ranked[:3]
    return next(clip for clip in clips if clip.name == name)


def test_answer_is_ordinary_webrtc(talk):
    answer = talk.report["started"]["sdpAnswer"]
    lines = answer.split("\r\n")
    assert "\n" not in answer.replace("\r\n", ""), "line ends are CRLF"
    assert [line for line in lines if line.startswith("m=")] == [line for line in lines if line.startswith("m=audio ")]
    fingerprints = [line for line in lines if line.startswith("a=fingerprint:")]
    assert len(fingerprints) == 1 and fingerprints[0].startswith("a=fingerprint:sha-256 ")
    assert "a=setup:active" in lines
    assert "a=sendrecv" in lines
    assert not any(line.startswith("a=ice-lite") for line in lines)


def test_the_codec_offered_is_agreed_to(talk):
    maps = re.findall(r"a=rtpmap:\d+ (\S+)\r\n", talk.report["started"]["sdpAnswer"])
    assert maps == [talk.encoding, "telephone-event/8000"]
    (answered,) = [event["offerAnswered"] for event in talk.events if "offerAnswered" in event]
    assert answered["codec"] == talk.encoding


def test_caller_hears_the_greeting_first(talk, clips):
    clip = clip_heard(talk.heard.until(talk.report["spoke_at_ms"]), clips, SAME_WHILE_SETTLING)
    assert "/greeting." in clip.name
    assert spoken(talk, "AGENT")[0] == clip.text


def test_caller_hears_a_reply_after_it_spoke(talk, clips):
    # Silence, and nothing else, while it speaks.
    finished_ms = talk.report["spoke_at_ms"] + talk.said.duration_ms
    clip = clip_heard(talk.heard.since(finished_ms), clips, SAME)
    assert "/reply-" in clip.name
    assert spoken(talk, "AGENT")[1] == clip.text


def test_nothing_else_is_heard(talk):
    assert len(speech.stretches(talk.heard)) == SENTENCES
    assert len(spoken(talk, "AGENT")) >= SENTENCES


def test_the_ai_heard_the_whole_sentence_once(talk):
    (transcript,) = spoken(talk, "CALLER")
    found = re.fullmatch(r"\[speech (\d+\.\d) s\]", transcript)
    assert found, transcript
    assert abs(float(found[1]) - talk.said.duration_ms / 1000) <= HEARD_SLACK_S


def test_timeline_has_the_milestones_in_order(talk):
    reached = {entry["stage"]: int(entry.get("elapsedMs", 0)) for entry in talk.record["timeline"]}
    assert set(MILESTONES) <= set(reached)
    times = [reached[stage] for stage in MILESTONES]
    assert times == sorted(times)


def test_hang_up_over_http_ends_the_call(talk):
    assert talk.record["phase"] == "CALL_PHASE_ENDED"
    assert talk.record["termination"]["reason"] == "API_HANGUP"


def test_media_counters_agree(talk):
    statistics = {key: int(value) for key, value in talk.record["statistics"].items()}
    # The talk is a few seconds each way at 50 packets a second, and loopback loses nothing.
    assert statistics["packetsReceived"] > 150
    assert statistics["packetsSent"] > 150
    assert statistics.get("packetsLost", 0) == 0
    assert statistics.get("underruns", 0) == 0


@pytest.mark.parametrize("talk", AIORTC, indirect=True)
def test_packets_are_continuous(talk):
    rtp = talk.report["rtp"]
    assert rtp["packets"] > 150
    assert len(rtp["ssrcs"]) == 1
    assert len(rtp["payload_types"]) == 1
    assert rtp["sequence_breaks"] == 0
    assert rtp["timestamp_breaks"] == 0
    assert talk.report["sender_reports"] == 1


@pytest.mark.parametrize("talk", CHROMIUM, indirect=True)
def test_browser_has_nothing_to_conceal(talk):
    inbound = talk.report["stats"]["inbound"]
    assert inbound["packetsReceived"] > 150
    assert inbound["packetsLost"] == 0
    assert inbound["totalAudioEnergy"] > 0
    # A starved machine may stretch a moment; a bridge that leaves gaps conceals far more than a fiftieth.
    assert inbound["concealedSamples"] <= inbound["totalSamplesReceived"] / 50
    assert talk.report["stats"]["remoteOutbound"]["reportsSent"] >= 1, "sender reports came"
    assert talk.report["stats"]["remoteInbound"]["packetsLost"] == 0, "receiver reports came"


@pytest.mark.parametrize("talk", CHROMIUM, indirect=True)
def test_page_of_another_origin_reads_the_call_over_grpc_web(talk):
    answers = talk.report["grpc_web"]
    for answer in answers.values():
        assert answer["http_status"] == 200
        assert re.search(r"grpc-status:\s*0", answer["trailers"])
    assert talk.report["call_id"] in answers["call"]["text"]
    assert spoken(talk, "AGENT")[0] in answers["transcripts"]["text"]
