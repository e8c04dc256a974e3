//! A call whose thread was late: over real sockets, at times that the test decides.

use std::net::UdpSocket;

use voicebridge_session::{Command, Statistics};

use super::*;
use crate::peer::Peer as _;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PACKET: Duration = Duration::from_millis(20);
/// Digital silence in Opus (RFC 6716): 20 ms, mono.
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// What reaches the session before the step that reads its socket.
#[derive(Clone, Copy, Debug)]
enum First {
    Nothing,
    Command,
    Arrival,
}

struct LateCall {
    now: Instant,
    call: Call,
    caller: Caller,
    socket: UdpSocket,
    home: SocketAddr,
    sequence: u16,
    buffer: [u8; 2_048],
}

impl LateCall {
    /// Connected and answered.
    fn active() -> Self {
        let now = Instant::now();
        let clock = Clock::new(now);
        let socket = UdpSocket::bind((HOME, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut caller, sdp_offer) = Caller::new(now, socket.local_addr().unwrap(), Kind::Relay);
        let offer = sdp::lint(&sdp_offer).unwrap();
        let lease = pool(20).open(now).unwrap();
        let home = SocketAddr::new(HOME, lease.port);
        let connect_within = Duration::from_secs(10);
        let local_media = LocalMedia { announced: home, ssrc: 1, cname: "bridge", connect_within };
        let reach = Reach { ours: HOME, policy: CandidatePolicy::Auto };
        let peer = Engine::accept(now, &Remote::new(&offer.negotiated, reach), local_media).unwrap();
        let local = peer.local();
        let answer = sdp::Local {
            address: HOME,
            port: home.port(),
            ice_ufrag: &local.ice_ufrag,
            ice_pwd: &local.ice_pwd,
            fingerprint: &local.fingerprint,
            ssrc: local.ssrc,
            cname: "bridge",
            origin_id: 1,
        };
        caller.answer(now, &sdp::answer(&offer, &answer));
        let entry = Arc::new(Entry::new(Opening {
            session_id: "late".into(),
            call_id: "call".into(),
            started: clock.time(now),
            elapsed_ms: 0,
            sdp_answer: String::new(),
            warnings: Vec::new(),
            arguments: Default::default(),
        }));
        let mut ports = SessionPorts {
            peer,
            datagrams: Datagrams::default(),
            connections: ProviderSockets::none(),
            entry,
            now,
            span: tracing::Span::none(),
        };
        let setup = Setup {
            agent: Agent::default(),
            provider: Box::new(Fragile::default()),
            mode: SignallingMode::Staged,
            negotiated: &offer.negotiated,
            limits: Limits::default(),
            seed: 1,
            elapsed_ms: 0,
            answer_ms: 0,
        };
        let session = Session::new(clock.time(now), setup, &mut ports).unwrap();
        let call = Call::new(session, ports, lease, clock, SignallingMode::Staged);
        let mut late = Self { now, call, caller, socket, home, sequence: 0, buffer: [0; 2_048] };
        late.call.advance(now, Stage::AnswerDelivered);
        for _ in 0..5_000 {
            if late.caller.connected {
                break;
            }
            late.pass(Duration::from_millis(1));
            late.step();
        }
        assert!(late.caller.connected, "the transport comes up");
        late.call.advance(late.now, Stage::Accepted);
        late.step();
        late
    }

    /// Time goes by for the caller; what he sends waits in our socket.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.caller.run(self.now);
        while let Some((to, bytes)) = self.caller.transmit() {
            assert_eq!(to, self.home);
            self.socket.send_to(&bytes, to).unwrap();
        }
    }

    /// The caller speaks meanwhile.
    fn speak(&mut self, packets: u16) {
        for _ in 0..packets {
            let timestamp = u32::from(self.sequence) * 960;
            self.caller.speak(self.now, self.sequence, timestamp, &OPUS_SILENCE);
            self.sequence += 1;
            self.pass(PACKET);
        }
    }

    /// The thread comes to the call, and what it sends reaches the caller.
    fn step(&mut self) {
        self.call.readable(Ok(()));
        self.call.step(self.now, &mut self.buffer);
        while let Ok((length, from)) = self.socket.recv_from(&mut self.buffer) {
            self.caller.datagram(self.now, &self.buffer[..length], from);
        }
    }

    fn statistics(&mut self) -> Statistics {
        self.call.publish();
        self.call.entry().snapshot().statistics
    }
}

/// A media thread that the machine held up finds packets in the socket. They are not missing, whatever else came meanwhile.
#[test]
fn what_waits_in_the_socket_of_a_late_thread_is_not_filled() {
    for first in [First::Nothing, First::Command, First::Arrival] {
        let mut late = LateCall::active();
        for _ in 0..50 {
            late.speak(1);
            late.step();
        }
        let before = late.statistics();
        for _ in 0..5 {
            late.speak(20);
            match first {
                First::Nothing => {}
                First::Command => late.call.command(late.now, "c", &Command::Interrupt).unwrap(),
                // One more than may be open: it is told so.
                First::Arrival => late.call.open_connection(),
            }
            late.step();
            for _ in 0..10 {
                late.speak(1);
                late.step();
            }
        }
        let after = late.statistics();
        assert_eq!(after.packets_received - before.packets_received, 150, "{first:?}");
        assert_eq!(
            (after.concealed_ms - before.concealed_ms, after.silence_ms - before.silence_ms, after.packets_late),
            (0, 0, 0),
            "{first:?}"
        );
    }
}
