//! Tests of the SRTP module: published vectors, an independent implementation as oracle, and hostile input.

mod hostile;
mod interop;
mod rollover;
mod vectors;

use super::{SrtpReceiver, SrtpSender};
use channel_proto::srtp_parameters::SrtpCryptoSuite;

/// A master key and salt of the right length.
fn master(suite: SrtpCryptoSuite) -> Vec<u8> {
    (0..suite.master_length()).map(|at| (at * 37 + 11) as u8).collect()
}

fn pair(suite: SrtpCryptoSuite) -> (SrtpSender, SrtpReceiver) {
    let master = master(suite);
    (
        SrtpSender::new(suite, &master).unwrap(),
        SrtpReceiver::new(suite, &master).unwrap(),
    )
}

/// An RTP packet with a two-word extension block, and the length of its header.
fn rtp(ssrc: u32, sequence: u16, payload: usize) -> (Vec<u8>, usize) {
    let mut packet = vec![0x90, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(0x0102_0304u32.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xBE, 0xDE, 0, 2, 0x10, 0xFF, 0x51, 1, 2, 0, 0, 0]);
    let header = packet.len();
    packet.extend((0..payload).map(|at| (at as u8).wrapping_add(sequence as u8)));
    (packet, header)
}

/// A receiver report with `blocks` report blocks.
fn rtcp(ssrc: u32, blocks: u8) -> Vec<u8> {
    let mut packet = vec![0x80 | blocks, 201, 0, 1 + 6 * blocks];
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..24 * usize::from(blocks)).map(|at| at as u8));
    packet
}

/// Protects an RTP packet.
fn sealed(sender: &mut SrtpSender, ssrc: u32, sequence: u16) -> Vec<u8> {
    let (mut packet, header) = rtp(ssrc, sequence, 100);
    sender.protect_rtp(&mut packet, 0, header).unwrap();
    packet
}

/// Opens a copy of an SRTP packet made by [`rtp`]; the plain packet.
fn open(receiver: &mut SrtpReceiver, packet: &[u8]) -> Result<Vec<u8>, super::SrtpError> {
    let mut packet = packet.to_vec();
    let length = receiver.unprotect_rtp(&mut packet, 24)?;
    packet.truncate(length);
    Ok(packet)
}

/// Opens a copy of an SRTCP packet; the plain packet.
fn open_rtcp(receiver: &mut SrtpReceiver, packet: &[u8]) -> Result<Vec<u8>, super::SrtpError> {
    let mut packet = packet.to_vec();
    let length = receiver.unprotect_rtcp(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}
