//! The outbound half: protecting packets.

use super::index::estimate;
use super::keys::{SessionKeys, check_header, check_length};
use super::replay::{self, ReplayWindow};
use super::{E_FLAG, RTCP_HEADER, RTP_HEADER, SRTCP_TRAILER, SrtpError, rtcp_ssrc, rtp_ids};
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use core::fmt;
use hashbrown::HashMap;

/// SSRCs whose index one sender keeps. An index must not be forgotten while the key lives, so when this many have been
/// used the sender refuses further ones. It is a few megabytes at most, and about 130,000 consumers with RTX.
const MAX_STREAMS: usize = 1 << 18;

/// Protects outgoing RTP and RTCP.
///
/// # No index twice
///
/// The packet index (rollover counter and sequence number) is part of the nonce. Under the AEAD suites two different
/// packets with one nonce let an observer compute the authentication key and forge packets at will (RFC 7714 section
/// 8.3); under AES-CM two payloads with one index reveal their difference. Header bytes count as well, and
/// abs-send-time differs with each sending. So a sequence number that has been used is refused with
/// [`SrtpError::IndexSpent`], and so is one so old that nobody can tell. Receivers lose nothing: they drop replays.
pub struct SrtpSender {
    suite: SrtpCryptoSuite,
    keys: SessionKeys,
    streams: HashMap<u32, Stream>,
    next_rtcp_index: u32,
}

/// What must be known of an SSRC for as long as the key lives.
struct Stream {
    /// The highest index used, and which of those below it.
    used: ReplayWindow,
    /// The lowest index that may be used: above everything from before the SSRC was last forgotten.
    floor: u64,
}

impl SrtpSender {
    /// A sender for this suite, with the master key directly followed by the master salt.
    pub fn new(suite: SrtpCryptoSuite, master: &[u8]) -> Result<Self, SrtpError> {
        let keys = SessionKeys::derive(suite, master)?;
        Ok(Self {
            suite,
            keys,
            streams: HashMap::new(),
            next_rtcp_index: 0,
        })
    }

    /// Encrypts the RTP packet `buffer[start..]` in place and appends the tag. `header_len` is the length of its
    /// header with CSRCs and extensions. What comes before `start` is left alone. After an error the packet must not
    /// be sent.
    ///
    /// A sequence number of an SSRC can be protected once; [`protect_rtp_again`](Self::protect_rtp_again) repeats it.
    pub fn protect_rtp(&mut self, buffer: &mut Vec<u8>, start: usize, header_len: usize) -> Result<(), SrtpError> {
        let packet = buffer.get(start..).ok_or(SrtpError::TooShort)?;
        let length = check_length(packet.len(), RTP_HEADER)?;
        check_length(length + self.rtp_overhead(), 0)?;
        check_header(header_len, length)?;
        let (ssrc, sequence) = rtp_ids(packet)?;
        let index = self.claim(ssrc, sequence)?;
        self.keys.rtp.seal_rtp(buffer, start, header_len, ssrc, index)
    }

    /// Protects a packet that has been protected before, for a receiver that did not get it. It must have the same bytes
    /// as then, and so the same at the end: those `tail` tells. After an error it must not be sent; that happens too if
    /// its bytes turn out to be others, or its index is not one of the last used.
    pub fn protect_rtp_again(
        &mut self,
        buffer: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        tail: [u8; 4],
    ) -> Result<(), SrtpError> {
        let packet = buffer.get(start..).ok_or(SrtpError::TooShort)?;
        let length = check_length(packet.len(), RTP_HEADER)?;
        check_length(length + self.rtp_overhead(), 0)?;
        check_header(header_len, length)?;
        let (ssrc, sequence) = rtp_ids(packet)?;
        let stream = self.streams.get(&ssrc).ok_or(SrtpError::IndexSpent)?;
        let highest = stream.used.highest();
        let index = estimate(Some(highest), sequence).ok_or(SrtpError::KeyExhausted)?;
        let recent = index >= stream.floor && index <= highest && highest - index < replay::WINDOW;
        // Whoever accepts the index has not seen it.
        if !recent || stream.used.accepts(index) {
            return Err(SrtpError::IndexSpent);
        }
        self.keys.rtp.seal_rtp(buffer, start, header_len, ssrc, index)?;
        // The tag authenticates every byte, header included: equal tags, equal packets.
        if buffer.last_chunk::<4>() == Some(&tail) {
            Ok(())
        } else {
            Err(SrtpError::IndexSpent)
        }
    }

    /// Encrypts the (compound) RTCP packet `buffer[start..]` in place and appends index and tag. After an error the
    /// packet must not be sent.
    pub fn protect_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), SrtpError> {
        let packet = buffer.get(start..).ok_or(SrtpError::TooShort)?;
        let length = check_length(packet.len(), RTCP_HEADER)?;
        check_length(length + self.rtcp_overhead(), 0)?;
        let ssrc = rtcp_ssrc(packet)?;
        // One count for all SSRCs: receivers only need it to grow, and it leaves nothing per SSRC that could be
        // forgotten and so restart. The RFC caps it at 2^31 packets per key (section 9.2).
        let index = self.next_rtcp_index;
        if index >= E_FLAG {
            return Err(SrtpError::KeyExhausted);
        }
        self.next_rtcp_index += 1;
        self.keys.rtcp.seal_rtcp(buffer, start, ssrc, index)
    }

    /// Bytes that [`protect_rtp`](Self::protect_rtp) adds.
    pub fn rtp_overhead(&self) -> usize {
        self.keys.rtp.tag_length()
    }

    /// Bytes that [`protect_rtcp`](Self::protect_rtcp) adds.
    pub fn rtcp_overhead(&self) -> usize {
        self.keys.rtcp.tag_length() + SRTCP_TRAILER
    }

    /// Says that the stream with this SSRC has ended.
    ///
    /// Its highest index is kept: should the SSRC come back under this key, it goes on above that index, and sequence
    /// numbers that would fall on an index of the earlier stream are refused with [`SrtpError::IndexSpent`].
    /// [`resume_sequence`](Self::resume_sequence) tells where a new stream can start.
    pub fn forget(&mut self, ssrc: u32) {
        if let Some(stream) = self.streams.get_mut(&ssrc) {
            stream.floor = stream.used.highest() + 1;
        }
    }

    /// The sequence number after the highest one sent with this SSRC under this key; `None` for a new SSRC.
    pub fn resume_sequence(&self, ssrc: u32) -> Option<u16> {
        self.streams
            .get(&ssrc)
            .map(|stream| (stream.used.highest() as u16).wrapping_add(1))
    }

    /// The index for a packet, noted as used.
    fn claim(&mut self, ssrc: u32, sequence: u16) -> Result<u64, SrtpError> {
        let Some(stream) = self.streams.get_mut(&ssrc) else {
            if self.streams.len() >= MAX_STREAMS {
                return Err(SrtpError::TooManyStreams);
            }
            let index = u64::from(sequence);
            self.streams.insert(
                ssrc,
                Stream {
                    used: ReplayWindow::starting_at(index),
                    floor: 0,
                },
            );
            return Ok(index);
        };
        let index = estimate(Some(stream.used.highest()), sequence).ok_or(SrtpError::KeyExhausted)?;
        // A packet from shortly before the first one has no index. The estimate would take it as a jump ahead by almost
        // a cycle, and with the next packet we would be one rollover ahead of a receiver that missed it.
        let behind = u64::from((stream.used.highest() as u16).wrapping_sub(sequence));
        let before_start = index > stream.used.highest() && (1..replay::WINDOW).contains(&behind);
        if before_start || index < stream.floor || !stream.used.accepts(index) {
            return Err(SrtpError::IndexSpent);
        }
        stream.used.record(index);
        Ok(index)
    }

    #[cfg(test)]
    pub(super) fn set_next_rtcp_index(&mut self, index: u32) {
        self.next_rtcp_index = index;
    }

    #[cfg(test)]
    pub(super) fn set_highest(&mut self, ssrc: u32, highest: u64) {
        let used = ReplayWindow::starting_at(highest);
        self.streams.insert(ssrc, Stream { used, floor: 0 });
    }
}

impl fmt::Debug for SrtpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No keys in logs.
        f.debug_struct("SrtpSender")
            .field("suite", &self.suite)
            .field("streams", &self.streams.len())
            .finish()
    }
}
