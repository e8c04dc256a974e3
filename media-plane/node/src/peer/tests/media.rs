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
        world.peer.write_rtp(world.now, packet).unwrap();
        world.caller.speak(world.now, 7 + 2 * step, 960 * u32::from(step), &[0x78, step as u8]);
        // A probe without payload.
        world.caller.speak(world.now, 8 + 2 * step, 960 * u32::from(step), &[]);
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
    let received: Vec<&Received> = world
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Rtp(received) => Some(received),
            _ => None,
        })
        .collect();
    assert_eq!(received.len(), 50);
    assert_eq!((received[3].sequence, received[3].timestamp), (13, 2_880));
    assert_eq!((received[3].ssrc, received[3].payload_type), (CALLER_SSRC, 111));
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
            world.peer.write_rtp(world.now, packet).unwrap();
            world.caller.speak(world.now, step, timestamp, &[0x55; 160]);
            world.run(Duration::from_millis(20));
        }
        world.run(Duration::from_millis(20));
        let received: Vec<&Received> = world.outputs.iter().filter_map(taken).collect();
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
        let told = |output: &Output| if let Output::Report(report) = output { Some(*report) } else { None };
        let told = world.outputs.iter().filter_map(told).last().unwrap();
        assert!(told.jitter_ms <= 1, "{told:?}");
    }
}

fn taken(output: &Output) -> Option<&Received> {
    if let Output::Rtp(received) = output { Some(received) } else { None }
}
