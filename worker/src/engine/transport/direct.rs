//! A transport without network: the parent sends packets into it and gets what it sends, over the PayloadChannel.

/// Longest RTP or RTCP packet that the parent may send, in bytes; longer ones are dropped.
pub const MAX_PACKET: usize = 1600;

/// A direct transport: connected from birth.
#[derive(Debug)]
pub struct Direct {
    /// The flag of its creation, which the dump shows.
    pub flag: bool,
    /// Largest data message in bytes.
    pub max_message_size: u64,
}
