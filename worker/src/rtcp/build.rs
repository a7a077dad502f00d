//! Writing RTCP: each function appends one packet.

use super::{DelaySinceReference, ReportBlock};

/// Seconds between the NTP epoch (1900) and the Unix epoch.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// NTP time, seconds in the upper half, of a moment in microseconds since the Unix epoch.
pub fn ntp_time(unix_micros: u64) -> u64 {
    let seconds = unix_micros / 1_000_000 + NTP_UNIX_OFFSET;
    let fraction = ((unix_micros % 1_000_000) << 32) / 1_000_000;
    (seconds << 32) | fraction
}

fn header(out: &mut Vec<u8>, count: usize, packet_type: u8, words_after: usize) {
    out.extend_from_slice(&[0x80 | (count & 0x1f) as u8, packet_type]);
    out.extend_from_slice(&(words_after as u16).to_be_bytes());
}

/// SR without report blocks (RFC 3550 6.4.1).
pub fn sender_report(out: &mut Vec<u8>, ssrc: u32, ntp: u64, rtp_timestamp: u32, packets: u32, octets: u32) {
    header(out, 0, 200, 6);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&ntp.to_be_bytes());
    for field in [rtp_timestamp, packets, octets] {
        out.extend_from_slice(&field.to_be_bytes());
    }
}

/// RR with at most 31 blocks (RFC 3550 6.4.2); the sender's SSRC is 0 as we send no media of our own.
pub fn receiver_report(out: &mut Vec<u8>, blocks: &[ReportBlock]) {
    let blocks = blocks.get(..blocks.len().min(31)).unwrap_or_default();
    header(out, blocks.len(), 201, 1 + blocks.len() * 6);
    out.extend_from_slice(&[0; 4]);
    for block in blocks {
        out.extend_from_slice(&block.ssrc.to_be_bytes());
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff;
        out.extend_from_slice(&(u32::from(block.fraction_lost) << 24 | lost).to_be_bytes());
        for field in [
            block.highest_sequence,
            block.jitter,
            block.last_sender_report,
            block.delay_since_last_sender_report,
        ] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
}

/// SDES with the CNAME of one source (RFC 3550 6.5).
pub fn source_description(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let cname = cname.as_bytes();
    let cname = cname.get(..cname.len().min(255)).unwrap_or_default();
    // SSRC, item, and one to four zeros that end the chunk on a word.
    let chunk = 4 + 2 + cname.len();
    let padded = (chunk / 4 + 1) * 4;
    header(out, 1, 202, padded / 4);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, cname.len() as u8]);
    out.extend_from_slice(cname);
    out.resize(out.len() + padded - chunk, 0);
}

/// XR with our reference time (RFC 3611 4.4).
pub fn receiver_reference_time(out: &mut Vec<u8>, ntp: u64) {
    header(out, 0, 207, 4);
    out.extend_from_slice(&[0, 0, 0, 0, 4, 0, 0, 2]);
    out.extend_from_slice(&ntp.to_be_bytes());
}

/// XR with answers to a receiver's reference time (RFC 3611 4.5).
pub fn delay_since_last_receiver_reference(out: &mut Vec<u8>, ssrc: u32, answers: &[DelaySinceReference]) {
    let words = answers.len() * 3;
    header(out, 0, 207, 2 + words);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[5, 0]);
    out.extend_from_slice(&(words as u16).to_be_bytes());
    for answer in answers {
        for field in [answer.ssrc, answer.last_reference, answer.delay] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
}

/// Generic NACK (RFC 4585 6.2.1) for the first of some sequence numbers, which must ascend; returns how many of them fit
/// into `room` bytes.
pub fn generic_nack(out: &mut Vec<u8>, ssrc: u32, sequence_numbers: &[u16], room: usize) -> usize {
    let start = out.len();
    header(out, 1, 205, 2);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    let mut rest = sequence_numbers;
    while let Some((first, after)) = rest.split_first() {
        if out.len() - start + 4 > room {
            break;
        }
        let mut bitmap = 0_u16;
        rest = after;
        while let Some((next, after)) = rest.split_first() {
            let Some(bit) = next.wrapping_sub(*first).checked_sub(1).filter(|bit| *bit < 16) else {
                break;
            };
            bitmap |= 1 << bit;
            rest = after;
        }
        out.extend_from_slice(&first.to_be_bytes());
        out.extend_from_slice(&bitmap.to_be_bytes());
    }
    let words = ((out.len() - start) / 4 - 1) as u16;
    if let Some(field) = out.get_mut(start + 2..start + 4) {
        field.copy_from_slice(&words.to_be_bytes());
    }
    sequence_numbers.len() - rest.len()
}

/// REMB (draft-alvestrand-rmcat-remb-03 2.2): what the sender of these streams may send in all, in bits per second.
pub fn receiver_estimated_maximum_bitrate(out: &mut Vec<u8>, bitrate: u64, ssrcs: &[u32]) {
    let ssrcs = ssrcs.get(..ssrcs.len().min(255)).unwrap_or_default();
    header(out, 15, 206, 4 + ssrcs.len());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(b"REMB");
    // 18 bits of mantissa; what does not fit is rounded down.
    let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
    let value = (ssrcs.len() as u32) << 24 | exponent << 18 | (bitrate >> exponent) as u32;
    out.extend_from_slice(&value.to_be_bytes());
    for ssrc in ssrcs {
        out.extend_from_slice(&ssrc.to_be_bytes());
    }
}

/// PLI (RFC 4585 6.3.1). Some senders refuse a sender SSRC of 0, so both are the stream's.
pub fn picture_loss_indication(out: &mut Vec<u8>, ssrc: u32) {
    header(out, 1, 206, 2);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
}

/// FIR (RFC 5104 4.3.1) of one stream.
pub fn full_intra_request(out: &mut Vec<u8>, ssrc: u32, sequence: u8) {
    header(out, 4, 206, 4);
    for _ in 0..3 {
        out.extend_from_slice(&ssrc.to_be_bytes());
    }
    out.extend_from_slice(&[sequence, 0, 0, 0]);
}
