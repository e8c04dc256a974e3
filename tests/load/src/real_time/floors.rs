//! What the delays would be with as little as possible in between: bare UDP, and a bare echo that decodes and encodes.

use super::{Floor, Spread, ms};
use crate::speech;
use anyhow::{Context as _, ensure};
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};
use voicebridge_audio::{
    FRAME_SAMPLES,
    opus::{Decoder, Encoder, EncoderSettings, MAX_PAYLOAD_BYTES, MaxBandwidth},
};
use voicebridge_simulator::{delay, meta::Utterance, speech::fixture};

const FRAME: Duration = Duration::from_millis(20);
/// As the media node's, when it works by the tick.
const TICK: Duration = Duration::from_millis(5);
/// Datagrams of one measurement: four seconds.
const DATAGRAMS: usize = 200;
/// Nothing takes longer on loopback.
const PATIENCE: Duration = Duration::from_secs(2);
/// As the node encodes towards the caller.
const BITRATE_BPS: u32 = 20_000;

pub(super) struct Floors {
    pub(super) uplink: Floor,
    pub(super) downlink: Floor,
    pub(super) mouth_to_ear: Floor,
}

/// When a reader looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    WokenByPacket,
    EveryTick,
}

impl Floors {
    pub(super) fn measure() -> anyhow::Result<Self> {
        let (woken, ticking) = (one_way(Reader::WokenByPacket)?, one_way(Reader::EveryTick)?);
        let (p50_ms, p99_ms) = (woken.at(0.5), woken.at(0.99));
        let tick = format!("through a tick of 5 ms {:.1} and {:.1}", ticking.at(0.5), ticking.at(0.99));
        let uplink = Floor { p50_ms, p99_ms, words: format!("bare UDP; {tick}") };
        let downlink =
            Floor { p50_ms, p99_ms, words: "bare UDP; the next slot of our clock is 0 to 20 ms away".into() };
        let around = transcoding_echo()?;
        let words = "bare UDP, decode, encode: the look-ahead of two codecs is a packet".to_owned();
        let mouth_to_ear = Floor { p50_ms: around.at(0.5), p99_ms: around.at(0.99), words };
        Ok(Self { uplink, downlink, mouth_to_ear })
    }
}

/// A datagram every 20 ms, at moments that have nothing to do with the reader's.
fn one_way(reader: Reader) -> anyhow::Result<Spread> {
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = to.local_addr()?;
    let reading = thread::spawn(move || read(&to, reader));
    let mut left = Vec::new();
    // A millisecond more than four ticks: the phases between the two clocks are all met.
    let every = FRAME + Duration::from_millis(1);
    let mut due = Instant::now();
    for index in 0..DATAGRAMS as u32 {
        due += every;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        left.push(Instant::now());
        from.send_to(&index.to_be_bytes(), address)?;
    }
    let came = reading.join().ok().context("the reader does not panic")??;
    Spread::of(left.iter().zip(&came).map(|(left, came)| ms(came.saturating_duration_since(*left))).collect())
}

fn read(socket: &UdpSocket, reader: Reader) -> anyhow::Result<Vec<Instant>> {
    let (mut came, mut buffer) = (Vec::new(), [0; 16]);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nonblocking(reader == Reader::EveryTick)?;
    let mut tick = Instant::now();
    while came.len() < DATAGRAMS {
        match socket.recv_from(&mut buffer) {
            Ok(_) => came.push(Instant::now()),
            Err(error) if reader == Reader::EveryTick && error.kind() == ErrorKind::WouldBlock => {
                ensure!(came.last().is_none_or(|last| last.elapsed() < PATIENCE), "a datagram was lost on loopback");
                tick += TICK;
                thread::sleep(tick.saturating_duration_since(Instant::now()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(came)
}

/// What the caller says, decoded and encoded again by a thread that does nothing else.
fn transcoding_echo() -> anyhow::Result<Spread> {
    let name = "opening-hours";
    let said = Utterance::new(name, &fixture(name).context("a recording")?.pcm)?;
    let caller = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let bridge = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for socket in [&caller, &bridge] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    let packets = speech::encode(said.pcm())?;
    let (address, count) = (bridge.local_addr()?, packets.len());
    let echoing = thread::spawn(move || echo(&bridge, count));
    let ear = caller.try_clone()?;
    let hearing = thread::spawn(move || hear(&ear, count));
    let (mut left, mut due) = (Vec::new(), Instant::now());
    for packet in &packets {
        due += FRAME;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        left.push(Instant::now());
        caller.send_to(packet, address)?;
    }
    echoing.join().ok().context("the echo does not panic")??;
    let (heard, came) = hearing.join().ok().context("the ear does not panic")??;
    let at = |moments: &[Instant], sample: usize| moments.get(sample / FRAME_SAMPLES).copied();
    let delays = delay::between(name, said.pcm(), |sample| at(&left, sample), &heard, |sample| at(&came, sample));
    Spread::of(delays.into_iter().map(ms).collect())
}

fn echo(socket: &UdpSocket, count: usize) -> anyhow::Result<()> {
    let mut decoder = Decoder::new()?;
    let mut encoder = Encoder::new(EncoderSettings {
        max_bandwidth: MaxBandwidth::Wideband,
        bitrate_bps: BITRATE_BPS,
        ..EncoderSettings::default()
    })?;
    let (mut buffer, mut packet, mut pcm) = ([0; MAX_PAYLOAD_BYTES], [0; MAX_PAYLOAD_BYTES], [0; FRAME_SAMPLES]);
    for _ in 0..count {
        let (length, to): (usize, SocketAddr) = socket.recv_from(&mut buffer)?;
        decoder.decode(&buffer[..length], &mut pcm)?;
        let bytes = encoder.encode(&pcm, &mut packet)?;
        socket.send_to(&packet[..bytes], to)?;
    }
    Ok(())
}

fn hear(socket: &UdpSocket, count: usize) -> anyhow::Result<(Vec<i16>, Vec<Instant>)> {
    let (mut decoder, mut heard, mut came) = (Decoder::new()?, Vec::new(), Vec::new());
    let (mut buffer, mut pcm) = ([0; MAX_PAYLOAD_BYTES], [0; FRAME_SAMPLES]);
    for _ in 0..count {
        let length = socket.recv(&mut buffer)?;
        came.push(Instant::now());
        decoder.decode(&buffer[..length], &mut pcm)?;
        heard.extend_from_slice(&pcm);
    }
    Ok((heard, came))
}
