//! Reports as compound RTCP packets and back (RFC 3550, section 6.1): SR or RR first, then SDES with the CNAME, then BYE
//! when it is the last. The encoding is `rtc`'s, the numbers come from [`crate::peer::reports`].

use std::time::Instant;

use bytes::Bytes;
use rtc::rtcp::{
    Packet,
    goodbye::Goodbye,
    receiver_report::ReceiverReport,
    reception_report::ReceptionReport,
    sender_report::SenderReport,
    source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem},
};

use voicebridge_session::ReceiverReport as OnUs;

use crate::peer::reports::{Reception, Reports, RtcpReport};

/// Whether the stream goes on after a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterReport {
    GoOn,
    Bye,
}

/// The compound packet of the sender `ssrc`, called `cname`.
pub(super) fn packets(report: &RtcpReport, ssrc: u32, cname: &'static str, after: AfterReport) -> Vec<Box<dyn Packet>> {
    let reports = report.reception.iter().map(encode).collect();
    let first: Box<dyn Packet> = match report.sender {
        Some(sender) => Box::new(SenderReport {
            ssrc,
            ntp_time: sender.ntp,
            rtp_time: sender.rtp,
            packet_count: sender.packets,
            octet_count: sender.octets,
            reports,
            profile_extensions: Bytes::new(),
        }),
        None => Box::new(ReceiverReport { ssrc, reports, profile_extensions: Bytes::new() }),
    };
    let name = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: Bytes::from_static(cname.as_bytes()) };
    let chunk = SourceDescriptionChunk { source: ssrc, items: vec![name] };
    let mut compound = vec![first, Box::new(SourceDescription { chunks: vec![chunk] })];
    if after == AfterReport::Bye {
        compound.push(Box::new(Goodbye { sources: vec![ssrc], reason: Bytes::new() }));
    }
    compound
}

/// Takes what a compound packet of the far side reports, and gives on what it says of our stream.
pub(super) fn read(now: Instant, compound: &[Box<dyn Packet>], reports: &mut Reports, mut about_us: impl FnMut(OnUs)) {
    for packet in compound {
        let packet = packet.as_any();
        let blocks = if let Some(report) = packet.downcast_ref::<SenderReport>() {
            reports.sender_report(now, report.ssrc, report.ntp_time);
            &report.reports
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            &report.reports
        } else {
            continue;
        };
        for block in blocks {
            if let Some(report) = reports.reception(now, &decode(block)) {
                about_us(report);
            }
        }
    }
}

fn encode(reception: &Reception) -> ReceptionReport {
    ReceptionReport {
        ssrc: reception.ssrc,
        fraction_lost: reception.fraction_lost,
        total_lost: reception.lost,
        last_sequence_number: reception.highest,
        jitter: reception.jitter,
        last_sender_report: reception.last_sender_report,
        delay: reception.delay,
    }
}

fn decode(block: &ReceptionReport) -> Reception {
    Reception {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        lost: block.total_lost,
        highest: block.last_sequence_number,
        jitter: block.jitter,
        last_sender_report: block.last_sender_report,
        delay: block.delay,
    }
}
