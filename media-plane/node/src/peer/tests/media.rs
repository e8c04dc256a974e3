//! RTP both ways, in each codec.

use voicebridge_audio::g711::Law;

use super::*;

#[test]
fn rtp_flows_both_ways_as_numbered() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    assert!(matches!(
        world
            .peer
            .write_rtp(world.now, RtpOut { payload_type: 111, sequence: 1, timestamp: 1, marker: true, payload: &[1] }),
        Err(PeerError::NotConnected)
    ));
    world.run_until_connected(Duration::from_secs(2));
    world.run(Duration::from_millis(40));
    assert!(world.caller.connected);
    world.caller.heard.clear();
    for step in 0..50_u16 {
        let timestamp = 0xffff_f000_u32.wrapping_add(u32::from(step) * 960);
        let packet = RtpOut {
            payload_type: if step == 49 { 126 } else { 111 },
            sequence: 65_500_u16.wrapping_add(step),
            timestamp,
            marker: step == 0,
            payload: &[0xf8, 0xff, step as u8],
        };
        world.send(packet);
        world.caller.speak(world.now, 7 + 3 * step, 960 * u32::from(step), &[0x78, step as u8]);
        // A probe without payload, and a packet of a type nobody agreed to.
        world.caller.speak(world.now, 8 + 3 * step, 960 * u32::from(step), &[]);
        world.caller.send_of_type(97, world.now, 9 + 3 * step, 960 * u32::from(step), &[9]);
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_millis(30));
    let heard: Vec<_> = world
        .caller
        .heard
        .drain(..)
        .filter_map(|heard| match heard {
            Heard::Rtp(packet) => Some(packet),
            _ => None,
        })
        .collect();
    assert_eq!(heard.len(), 50);
    for (step, packet) in heard.iter().enumerate() {
        assert_eq!(packet.header.ssrc, 0xfeed_5eed);
        assert_eq!(packet.header.payload_type, if step == 49 { 126 } else { 111 });
        assert_eq!(packet.header.sequence_number, 65_500_u16.wrapping_add(step as u16));
        assert_eq!(packet.header.timestamp, 0xffff_f000_u32.wrapping_add(step as u32 * 960));
        assert_eq!(packet.header.marker, step == 0);
        assert!(!packet.header.extension);
        assert_eq!(packet.payload[..], [0xf8, 0xff, step as u8]);
    }
    // Each takes up a sequence number, so each is told of: what is not would be taken for lost.
    let received = &world.received;
    assert_eq!(received.len(), 150);
    assert!(received.iter().enumerate().all(|(index, packet)| packet.sequence == 7 + index as u16));
    let [voice, probe, other] = [&received[9], &received[10], &received[11]];
    assert_eq!((voice.timestamp, voice.ssrc, voice.payload_type), (2_880, CALLER_SSRC, 111));
    assert_eq!(voice.payload[..], [0x78, 3]);
    assert_eq!((probe.payload_type, probe.payload.len()), (111, 0));
    assert_eq!((other.payload_type, &other.payload[..]), (97, &[9][..]));
    assert!(!world.outputs.contains(&PeerOutput::Discarded));
}

#[test]
fn g711_flows_both_ways_on_its_own_clock() {
    for (law, payload_type, encoding) in [(Law::Mu, 0, "PCMU/8000"), (Law::A, 8, "PCMA/8000")] {
        let codec = (Codec::G711(law), payload_type, encoding);
        let mut world = World::in_codec(codec, Duration::from_secs(10), Kind::Relay, |_| {});
        world.peer.start(world.now);
        world.run_until_connected(Duration::from_secs(2));
        world.caller.heard.clear();
        for step in 0..150_u16 {
            let timestamp = u32::from(step) * 160;
            let packet = RtpOut { payload_type, sequence: step, timestamp, marker: false, payload: &[0xd5; 160] };
            world.send(packet);
            world.caller.speak(world.now, step, timestamp, &[0x55; 160]);
            world.run(Duration::from_millis(20));
        }
        world.run(Duration::from_millis(20));
        let received = &world.received;
        assert_eq!(received.len(), 150);
        assert!(received.iter().all(|packet| packet.payload_type == payload_type && packet.payload[..] == [0x55; 160]));
        assert_eq!(received[149].timestamp, 149 * 160);
        let heard = world.caller.heard.drain(..);
        let (mut packets, mut reports) = (0, Vec::new());
        for heard in heard {
            match heard {
                Heard::Rtp(packet) => {
                    assert_eq!((packet.header.payload_type, packet.payload.len()), (payload_type, 160));
                    packets += 1;
                }
                Heard::Rtcp(compound) => reports.push(compound),
                Heard::Connected | Heard::Closed => {}
            }
        }
        assert_eq!(packets, 150);
        let last = reports.last().unwrap()[0].as_any().downcast_ref::<SenderReport>().unwrap();
        let ahead = last.rtp_time.wrapping_sub(last.packet_count * 160) as i32;
        assert!(ahead.abs() <= 160, "{ahead}: NTP and RTP name one moment, at 8 kHz");
        assert!(last.reports[0].jitter < 8, "evenly sent: {last:?}");
        let told = |output: &PeerOutput| if let PeerOutput::Report(report) = output { Some(*report) } else { None };
        let told = world.outputs.iter().filter_map(told).last().unwrap();
        assert!(told.jitter_ms <= 1, "{told:?}");
    }
}

/// Garbage, foreign, truncated, altered and replayed RTP and RTCP, into a call that is up.
#[test]
fn what_is_not_the_callers_media_is_counted_and_changes_nothing() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    talk(&mut world, CALLER_SSRC, 0, 100);
    let is_rtcp = |bytes: &&Bytes| matches!(bytes.get(1), Some(192..=223));
    let rtp = world.came.iter().rfind(|bytes| !is_rtcp(bytes)).unwrap().clone();
    let report = world.came.iter().rfind(is_rtcp).expect("the caller reports").clone();
    let altered = |bytes: &Bytes| {
        let mut altered = bytes.to_vec();
        let last = altered.len() - 1;
        altered[last] ^= 1;
        altered
    };
    let discarded = |world: &World| world.outputs.iter().filter(|output| **output == PeerOutput::Discarded).count();
    let (before, taken_before) = (discarded(&world), world.received.len());
    let bad: Vec<Vec<u8>> = vec![
        // Of nobody, long and short.
        [&[0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9][..], &[0x5a; 80]].concat(),
        vec![0x80, 111, 0, 1],
        vec![0x80],
        vec![0x80; 1_400],
        // A report of nobody, and one that claims to be longer than it is.
        [&[0x80, 200, 0, 6][..], &[7; 24]].concat(),
        vec![0x81, 201, 0xff, 0xff, 0, 0, 0, 1],
        // Neither STUN, DTLS nor RTP (RFC 7983).
        vec![255; 60],
        vec![70; 60],
        // The caller's own: cut short, altered in its tag, in its header, and once more as it was.
        rtp[..rtp.len() - 7].to_vec(),
        rtp[..14].to_vec(),
        altered(&rtp),
        [&[rtp[0], rtp[1] ^ 0x7f], &rtp[2..]].concat(),
        rtp.to_vec(),
        report[..report.len() - 5].to_vec(),
        altered(&report),
    ];
    for from in [THEIRS.into(), SocketAddr::from(([198, 51, 100, 66], 666))] {
        for bytes in &bad {
            world.peer.datagram(world.now, bytes, from);
        }
        world.run(Duration::from_millis(1));
    }
    assert_eq!(world.received.len(), taken_before, "none of it is the caller's voice");
    assert_eq!(discarded(&world) - before, 2 * bad.len(), "each is counted");
    talk(&mut world, CALLER_SSRC, 100, 100);
    let went_on = world.received.len() - taken_before;
    assert!((88..=91).contains(&went_on), "{went_on}: all but each tenth, and what is still in flight");
    assert_eq!(discarded(&world) - before, 2 * bad.len());
    assert!(!world.outputs.iter().any(|output| matches!(output, PeerOutput::Failed(_) | PeerOutput::Closed)));
}
