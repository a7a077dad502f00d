//! Reading RTCP. Everything here comes from the network: no index, no assumption.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{DelaySinceReference, ReportBlock};

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtcpPacket<'a> {
    /// SR: what a sender has sent.
    SenderReport {
        /// The sender.
        ssrc: u32,
        /// NTP time, seconds in the upper half.
        ntp: u64,
        /// The same moment in its timestamps.
        rtp_timestamp: u32,
        /// What it receives: report blocks.
        reports: Reports<'a>,
    },
    /// RR: what a receiver has received.
    ReceiverReport {
        /// The receiver.
        ssrc: u32,
        /// Report blocks.
        reports: Reports<'a>,
    },
    /// Generic NACK: packets did not arrive.
    Nack {
        /// The stream.
        media_ssrc: u32,
        /// Which packets.
        items: NackItems<'a>,
    },
    /// Transport-wide feedback: which packets of a transport arrived, and when.
    TransportFeedback {
        /// The stream of one of them.
        media_ssrc: u32,
        /// What follows the SSRCs; [`TransportFeedback`](super::TransportFeedback) reads it.
        body: &'a [u8],
    },
    /// REMB: what a receiver thinks that it can receive.
    MaximumBitrate {
        /// Bits per second.
        bitrate: u64,
    },
    /// PLI: a decoder needs a key frame.
    PictureLossIndication {
        /// The stream.
        media_ssrc: u32,
    },
    /// FIR: decoders need key frames.
    FullIntraRequest {
        /// 8 bytes per stream.
        items: &'a [u8],
    },
    /// XR: extended reports.
    ExtendedReport {
        /// Who reports.
        ssrc: u32,
        /// Report blocks.
        blocks: Blocks<'a>,
    },
    /// Anything else, its type given.
    Other {
        /// RTCP packet type.
        packet_type: u8,
        /// Its 5-bit count or format.
        count: u8,
    },
}

/// Report blocks of an SR or RR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reports<'a>(&'a [u8]);

impl Iterator for Reports<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_at_checked(24)?;
        self.0 = rest;
        // 24 bits with sign.
        let lost = (u32_at(block, 4)? << 8).cast_signed() >> 8;
        Some(ReportBlock {
            ssrc: u32_at(block, 0)?,
            fraction_lost: *block.get(4)?,
            cumulative_lost: lost,
            highest_sequence: u32_at(block, 8)?,
            jitter: u32_at(block, 12)?,
            last_sender_report: u32_at(block, 16)?,
            delay_since_last_sender_report: u32_at(block, 20)?,
        })
    }
}

/// Requests of a generic NACK, as they stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NackItems<'a>(&'a [u8]);

impl NackItems<'_> {
    /// How many packets are asked for.
    pub fn packets(&self) -> u64 {
        self.0
            .chunks_exact(4)
            .map(|item| {
                1 + item
                    .iter()
                    .skip(2)
                    .map(|byte| u64::from(byte.count_ones()))
                    .sum::<u64>()
            })
            .sum()
    }
}

impl Iterator for NackItems<'_> {
    /// A sequence number, and a bit for each of the 16 that follow.
    type Item = (u16, u16);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[a, b, c, d], rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }
}

/// A block of an extended report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Receiver reference time (RFC 3611 4.4), NTP.
    ReferenceTime(u64),
    /// One answer to a reference time (RFC 3611 4.5).
    Delay(DelaySinceReference),
}

/// Blocks of an extended report; unknown ones are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks<'a> {
    rest: &'a [u8],
    delays: &'a [u8],
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        loop {
            if let Some((delay, rest)) = self.delays.split_at_checked(12) {
                self.delays = rest;
                return Some(Block::Delay(DelaySinceReference {
                    ssrc: u32_at(delay, 0)?,
                    last_reference: u32_at(delay, 4)?,
                    delay: u32_at(delay, 8)?,
                }));
            }
            self.delays = &[];
            let (header, rest) = self.rest.split_at_checked(4)?;
            let words = u16::from_be_bytes([*header.get(2)?, *header.get(3)?]);
            let (body, rest) = rest.split_at_checked(usize::from(words) * 4)?;
            self.rest = rest;
            match *header.first()? {
                4 if body.len() >= 8 => {
                    return Some(Block::ReferenceTime(
                        u64::from(u32_at(body, 0)?) << 32 | u64::from(u32_at(body, 4)?),
                    ));
                }
                5 => self.delays = body,
                _ => {}
            }
        }
    }
}

/// The packets of a compound. Ends at the first whose length does not fit.
#[derive(Debug, Clone, Copy)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

/// Walks over a compound. None: not even its first header is RTCP.
pub fn parse(datagram: &[u8]) -> Option<Compound<'_>> {
    crate::rtp::packet::is_rtcp(datagram).then_some(Compound { rest: datagram })
}

impl<'a> Iterator for Compound<'a> {
    type Item = RtcpPacket<'a>;

    fn next(&mut self) -> Option<RtcpPacket<'a>> {
        loop {
            let first = *self.rest.first()?;
            let packet_type = *self.rest.get(1)?;
            let words = u16::from_be_bytes([*self.rest.get(2)?, *self.rest.get(3)?]);
            if first >> 6 != 2 {
                self.rest = &[];
                return None;
            }
            // At least the header itself: this always advances.
            let Some((packet, rest)) = self.rest.split_at_checked((usize::from(words) + 1) * 4) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            let padding = if first & 0x20 != 0 {
                usize::from(*packet.last()?)
            } else {
                0
            };
            let Some(body) = packet.get(4..packet.len().saturating_sub(padding)) else {
                continue;
            };
            if let Some(read) = read(first & 0x1f, packet_type, body) {
                return Some(read);
            }
        }
    }
}

fn read(count: u8, packet_type: u8, body: &[u8]) -> Option<RtcpPacket<'_>> {
    let reports = |at: usize| {
        let blocks = body.get(at..)?;
        Some(Reports(blocks.get(..usize::from(count) * 24).unwrap_or(blocks)))
    };
    Some(match (packet_type, count) {
        (200, _) => RtcpPacket::SenderReport {
            ssrc: u32_at(body, 0)?,
            ntp: u64::from(u32_at(body, 4)?) << 32 | u64::from(u32_at(body, 8)?),
            rtp_timestamp: u32_at(body, 12)?,
            reports: reports(24)?,
        },
        (201, _) => RtcpPacket::ReceiverReport {
            ssrc: u32_at(body, 0)?,
            reports: reports(4)?,
        },
        (205, 1) => RtcpPacket::Nack {
            media_ssrc: u32_at(body, 4)?,
            items: NackItems(body.get(8..)?),
        },
        (205, 15) => RtcpPacket::TransportFeedback {
            media_ssrc: u32_at(body, 4)?,
            body: body.get(8..)?,
        },
        (206, 15) if body.get(8..12) == Some(b"REMB") => {
            let value = u32_at(body, 12)?;
            let mantissa = u64::from(value & 0x3_ffff);
            // An exponent up to 63 can shift everything out of 64 bits.
            let bitrate = u64::try_from(u128::from(mantissa) << (value >> 18 & 0x3f)).unwrap_or(u64::MAX);
            RtcpPacket::MaximumBitrate { bitrate }
        }
        (206, 1) => RtcpPacket::PictureLossIndication {
            media_ssrc: u32_at(body, 4)?,
        },
        (206, 4) => RtcpPacket::FullIntraRequest { items: body.get(8..)? },
        (207, _) => RtcpPacket::ExtendedReport {
            ssrc: u32_at(body, 0)?,
            blocks: Blocks {
                rest: body.get(4..)?,
                delays: &[],
            },
        },
        _ => RtcpPacket::Other { packet_type, count },
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}
