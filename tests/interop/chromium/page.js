// A caller in a browser: offers ordinary audio, listens, talks through the (fake) microphone, reads getStats.
// It follows what it hears: lets the AI finish its greeting, opens the microphone, lets the AI finish its reply; then
// the bridge presses keys and the page does.

const RATE = 48_000;
// As in speech.py: root mean square that counts as sound, of a full scale of 1.
const SOUND_RMS = 0.005;
const CONNECT_MS = 10_000;
const TURN_MS = 15_000;
const QUIET_MS = 800;
// What the bridge is asked to press: 200 ms each. Then what the page presses, as people do.
const BRIDGE_KEYS = "159#D";
const BRIDGE_KEY_MS = 200;
const PAGE_KEYS = "2580*";
const PAGE_KEY_MS = 100;
const PAGE_PAUSE_MS = 80;

const chunks = [];
let heardSamples = 0;
let loudAt = null;

function hear(samples) {
  chunks.push(samples);
  heardSamples += samples.length;
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  if (Math.sqrt(power) >= SOUND_RMS) loudAt = performance.now();
}

async function until(condition, deadlineMs, what) {
  const deadline = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${deadlineMs / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Returns once something was said from now on and quiet followed.
async function turn(what) {
  loudAt = null;
  await until(() => loudAt !== null && performance.now() - loudAt >= QUIET_MS, TURN_MS, what);
}

// The worklet that hears, ready before there is anything to hear.
async function recorder() {
  const context = new AudioContext({ sampleRate: RATE });
  await context.audioWorklet.addModule("recorder.js");
  const worklet = new AudioWorkletNode(context, "recorder", { channelCount: 1, channelCountMode: "explicit" });
  worklet.port.onmessage = ({ data }) => hear(data);
  // Pulled by the graph only when it leads somewhere; the worklet writes nothing, so this is silent.
  worklet.connect(context.destination);
  await context.resume();
  return worklet;
}

function record(track, worklet) {
  const stream = new MediaStream([track]);
  // Chromium decodes a remote track only while a media element plays it, and counts its energy only if not muted.
  const sink = new Audio();
  sink.srcObject = stream;
  worklet.context.createMediaStreamSource(stream).connect(worklet);
  return sink.play();
}

async function post(url, key, body = {}) {
  const response = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`POST ${url}: ${response.status} ${text}`);
  return JSON.parse(text);
}

// A field of a protobuf message that is text or another message, shorter than 128 bytes.
function field(number, content) {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return Uint8Array.of((number << 3) | 2, bytes.length, ...bytes);
}

// A method of CallService over gRPC-web (github.com/grpc/grpc, doc/PROTOCOL-WEB.md) without a generated client: of the
// answer only the trailers and the strings in it are wanted.
async function invoke(url, key, method, request) {
  const response = await fetch(`${url}/voicebridge.control.v1.CallService/${method}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/grpc-web+proto",
      "x-grpc-web": "1",
    },
    body: Uint8Array.of(0, 0, 0, 0, request.length, ...request),
  });
  const frames = new DataView(await response.arrayBuffer());
  const answer = { http_status: response.status, text: "", trailers: "" };
  for (let at = 0; at + 5 <= frames.byteLength; ) {
    const length = frames.getUint32(at + 1);
    const payload = new TextDecoder().decode(new Uint8Array(frames.buffer, at + 5, length));
    answer[frames.getUint8(at) & 0x80 ? "trailers" : "text"] += payload;
    at += 5 + length;
  }
  return answer;
}

// SendCommand with a SendDtmf: Command.send_dtmf is its field 4.
async function sendKeys(url, key, callId, digits) {
  const request = [...field(1, callId), ...field(2, field(4, field(1, digits)))];
  const answer = await invoke(url, key, "SendCommand", request);
  if (!/grpc-status:\s*0/.test(answer.trailers)) throw new Error(`SendCommand: ${JSON.stringify(answer)}`);
}

// Presses keys, and returns once the last tone is over.
async function press(dtmf, digits) {
  let over = false;
  dtmf.ontonechange = ({ tone }) => (over ||= tone === "");
  dtmf.insertDTMF(digits, PAGE_KEY_MS, PAGE_PAUSE_MS);
  await until(() => over, CONNECT_MS, "the end of the keys");
}

async function statistics(peer) {
  const all = [...(await peer.getStats()).values()];
  return {
    inbound: all.find((entry) => entry.type === "inbound-rtp"),
    remoteOutbound: all.find((entry) => entry.type === "remote-outbound-rtp") ?? null,
    remoteInbound: all.find((entry) => entry.type === "remote-inbound-rtp") ?? null,
  };
}

// What the page heard, as base64 of 16-bit samples at RATE.
function heard() {
  const pcm = new Int16Array(heardSamples);
  let at = 0;
  for (const chunk of chunks) {
    for (const sample of chunk) pcm[at++] = Math.max(-1, Math.min(1, sample)) * 32767;
  }
  const bytes = new Uint8Array(pcm.buffer);
  let text = "";
  for (let from = 0; from < bytes.length; from += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(from, from + 0x8000));
  }
  return { rate: RATE, base64: btoa(text) };
}

// Makes one call, of the codec named, showing the control plane this key. The call id is the harness's choice.
async function call(url, key, callId, codec) {
  const peer = new RTCPeerConnection();
  const ringing = new AudioContext().createMediaStreamDestination();
  const transceiver = peer.addTransceiver(ringing.stream.getAudioTracks()[0], { direction: "sendrecv" });
  const wanted = [`audio/${codec}`, "audio/telephone-event"].map((name) => name.toLowerCase());
  const { codecs } = RTCRtpReceiver.getCapabilities("audio");
  transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => wanted.includes(mimeType.toLowerCase())));
  const worklet = await recorder();
  let playing = null;
  peer.ontrack = ({ track }) => (playing = record(track, worklet));
  await peer.setLocalDescription(await peer.createOffer());
  await until(() => peer.iceGatheringState === "complete", CONNECT_MS, "the candidates");
  const started = await post(`${url}/sessions/start`, key, {
    callId,
    sdpOffer: peer.localDescription.sdp,
    fromNumber: "15550101",
  });
  await peer.setRemoteDescription({ type: "answer", sdp: started.sdpAnswer });
  await until(() => peer.connectionState === "connected", CONNECT_MS, "the connection");
  await playing;
  await turn("the greeting");

  // The fake device plays its file from the moment it is opened, once.
  const spokeAtMs = (1000 * heardSamples) / RATE;
  const microphone = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  await transceiver.sender.replaceTrack(microphone.getAudioTracks()[0]);
  await turn("a reply");

  // What the far side reports of us comes with RTCP, every few seconds.
  let stats = await statistics(peer);
  const deadline = performance.now() + CONNECT_MS;
  while (!(stats.remoteOutbound && stats.remoteInbound) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    stats = await statistics(peer);
  }
  const grpcWeb = {
    call: await invoke(url, key, "GetCall", field(1, callId)),
    transcripts: await invoke(url, key, "ListTranscripts", field(1, callId)),
  };

  const keysAtMs = (1000 * heardSamples) / RATE;
  await sendKeys(url, key, callId, BRIDGE_KEYS);
  // Half a second more than they take, for the jitter buffer; by what is heard, not by a clock.
  const heardEnough = keysAtMs + BRIDGE_KEYS.length * BRIDGE_KEY_MS + 500;
  await until(() => (1000 * heardSamples) / RATE >= heardEnough, CONNECT_MS, "what the bridge presses");
  await press(transceiver.sender.dtmf, PAGE_KEYS);
  await post(`${url}/sessions/${callId}/stop`, key);
  peer.close();
  return {
    call_id: callId,
    started,
    offer: peer.localDescription.sdp,
    spoke_at_ms: spokeAtMs,
    keys_at_ms: keysAtMs,
    keys: BRIDGE_KEYS,
    pressed: { digits: PAGE_KEYS, ms: PAGE_KEY_MS },
    stats,
    grpc_web: grpcWeb,
  };
}

window.voicebridge = { call, heard };
