//! The inbound half: verifying and decrypting packets.

use super::index::estimate;
use super::keys::{SessionKeys, check_header, check_length};
use super::replay::ReplayWindow;
use super::{E_FLAG, RTP_HEADER, SrtpError, rtcp_ssrc, rtp_ids};
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use core::fmt;
use hashbrown::HashMap;

/// SSRCs that are not pinned and whose state is kept. A peer that holds the key can make up SSRCs without end.
const MAX_UNPINNED: usize = 64;

/// Verifies and decrypts incoming SRTP and SRTCP.
///
/// State is made and changed only by packets that proved authentic. SSRCs that the caller has [pinned](Self::pin) keep
/// theirs. Of all others the 64 most recently heard are kept; one that drops out starts anew if it comes back, with
/// rollover counter zero and an empty replay window. Pin before acting on a stream's packets.
pub struct SrtpReceiver {
    suite: SrtpCryptoSuite,
    keys: SessionKeys,
    streams: HashMap<u32, Stream>,
    unpinned: usize,
    /// Counts authentic packets, to know which stream was heard last.
    clock: u64,
}

#[derive(Default)]
struct Stream {
    rtp: Option<ReplayWindow>,
    rtcp: Option<ReplayWindow>,
    pinned: bool,
    last_heard: u64,
}

/// Which of an SSRC's two replay windows.
#[derive(Clone, Copy)]
enum Kind {
    Rtp,
    Rtcp,
}

impl SrtpReceiver {
    /// A receiver for this suite, with the master key directly followed by the master salt.
    pub fn new(suite: SrtpCryptoSuite, master: &[u8]) -> Result<Self, SrtpError> {
        let keys = SessionKeys::derive(suite, master)?;
        Ok(Self {
            suite,
            keys,
            streams: HashMap::new(),
            unpinned: 0,
            clock: 0,
        })
    }

    /// Verifies the SRTP packet and decrypts it in place; the length of the RTP packet, which starts where it did.
    ///
    /// `header_len` is the length of the header with CSRCs and extensions, as the caller read it from the packet, not
    /// yet authenticated. It must follow from the packet's bytes alone: the AES-CM tag does not cover where the payload
    /// begins. After an error the payload's content is undefined and must not be used.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8], header_len: usize) -> Result<usize, SrtpError> {
        let tag = self.keys.rtp.tag_length();
        let length = check_length(packet.len(), RTP_HEADER + tag)?;
        check_header(header_len, length - tag)?;
        let (ssrc, sequence) = rtp_ids(packet)?;
        let window = self.streams.get(&ssrc).and_then(|stream| stream.rtp.as_ref());
        // Beyond the last rollover there is no packet that could be authentic.
        let index = estimate(window.map(ReplayWindow::highest), sequence).ok_or(SrtpError::Replayed)?;
        if window.is_some_and(|window| !window.accepts(index)) {
            return Err(SrtpError::Replayed);
        }
        let plain_length = self.keys.rtp.open_rtp(packet, header_len, ssrc, index)?;
        self.record(ssrc, Kind::Rtp, index);
        Ok(plain_length)
    }

    /// Verifies the SRTCP packet and decrypts it in place; the length of the RTCP packet, which starts where it did.
    ///
    /// Packets without the E flag are refused, whatever their tag. After an error the content beyond the first eight
    /// bytes is undefined and must not be used.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let word = self.keys.rtcp.srtcp_word(packet)?;
        if word & E_FLAG == 0 {
            return Err(SrtpError::Unencrypted);
        }
        let ssrc = rtcp_ssrc(packet)?;
        let index = u64::from(word & !E_FLAG);
        let window = self.streams.get(&ssrc).and_then(|stream| stream.rtcp.as_ref());
        if window.is_some_and(|window| !window.accepts(index)) {
            return Err(SrtpError::Replayed);
        }
        let plain_length = self.keys.rtcp.open_rtcp(packet, ssrc, word)?;
        self.record(ssrc, Kind::Rtcp, index);
        Ok(plain_length)
    }

    /// Keeps the state of this SSRC until it is [forgotten](Self::forget), however many others appear. The caller pins
    /// the SSRCs that it has mapped to a producer, and so bounds their number.
    pub fn pin(&mut self, ssrc: u32) {
        match self.streams.get_mut(&ssrc) {
            Some(stream) if stream.pinned => {}
            Some(stream) => {
                stream.pinned = true;
                self.unpinned -= 1;
            }
            None => {
                self.streams.insert(
                    ssrc,
                    Stream {
                        pinned: true,
                        ..Stream::default()
                    },
                );
            }
        }
    }

    /// Says that no producer uses this SSRC any more.
    ///
    /// The state is not dropped at once but may now be evicted like that of any SSRC that is not pinned. Dropping it
    /// would let old packets be replayed, and would lose the rollover counter of a stream that comes back.
    pub fn forget(&mut self, ssrc: u32) {
        let Some(stream) = self.streams.get_mut(&ssrc).filter(|stream| stream.pinned) else {
            return;
        };
        if stream.rtp.is_none() && stream.rtcp.is_none() {
            self.streams.remove(&ssrc);
            return;
        }
        // Make room first, so that the stream just let go is not the one to leave.
        self.make_room();
        if let Some(stream) = self.streams.get_mut(&ssrc) {
            stream.pinned = false;
            self.unpinned += 1;
        }
    }

    /// Notes an authentic packet.
    fn record(&mut self, ssrc: u32, kind: Kind, index: u64) {
        self.clock += 1;
        if !self.streams.contains_key(&ssrc) {
            self.make_room();
            self.unpinned += 1;
        }
        let stream = self.streams.entry(ssrc).or_default();
        stream.last_heard = self.clock;
        let window = match kind {
            Kind::Rtp => &mut stream.rtp,
            Kind::Rtcp => &mut stream.rtcp,
        };
        match window {
            Some(window) => window.record(index),
            None => *window = Some(ReplayWindow::starting_at(index)),
        }
    }

    /// Makes sure that one more SSRC which is not pinned has a place.
    fn make_room(&mut self) {
        if self.unpinned < MAX_UNPINNED {
            return;
        }
        let unpinned = self.streams.iter().filter(|(_, stream)| !stream.pinned);
        let oldest = unpinned
            .min_by_key(|(_, stream)| stream.last_heard)
            .map(|(ssrc, _)| *ssrc);
        if let Some(ssrc) = oldest {
            self.streams.remove(&ssrc);
            self.unpinned -= 1;
        }
    }

    #[cfg(test)]
    pub(super) fn known(&self, ssrc: u32) -> bool {
        self.streams.contains_key(&ssrc)
    }

    #[cfg(test)]
    pub(super) fn stream_count(&self) -> usize {
        self.streams.len()
    }
}

impl fmt::Debug for SrtpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No keys in logs.
        f.debug_struct("SrtpReceiver")
            .field("suite", &self.suite)
            .field("streams", &self.streams.len())
            .finish()
    }
}
