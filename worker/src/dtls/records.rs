//! Which records of a datagram may reach the protocol machine.
//!
//! Handshake messages of strangers and broken peers are the classic way to crash or fill a DTLS stack. So their frame is
//! checked here first, and how many there may be is bounded. What does not fit is left out, silently (RFC 6347 section
//! 4.1.2.7); the rest of the datagram is kept.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
/// Longest handshake message; a chain of large RSA certificates has about 8 KiB.
const MAX_MESSAGE: usize = 16 * 1024;
/// Handshake records in a handshake. An ordinary one has less than 20 from each side, some of them repeated.
const MAX_HANDSHAKE_RECORDS: u32 = 256;
/// Bytes of records in a handshake.
const MAX_HANDSHAKE_BYTES: usize = 96 * 1024;
/// How often the last messages are repeated after it, because the peer repeated its own: ours may have got lost.
const MAX_LATE_ANSWERS: u32 = 7;
/// Bytes of a record with a Finished message, which is all that is awaited after it.
const MAX_LATE_RECORD: usize = 128;

/// Content types of records (RFC 5246 section 6.2.1).
pub mod content {
    /// ChangeCipherSpec.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake.
    pub const HANDSHAKE: u8 = 22;
    /// Application data.
    pub const APPLICATION_DATA: u8 = 23;
}

/// A record in a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its content type.
    pub content_type: u8,
    /// 0 until keys are there.
    pub epoch: u16,
    /// All of it, header included.
    pub bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// What follows the header.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(RECORD_HEADER..).unwrap_or_default()
    }

    /// Whether it is an alert in the clear that ends the connection.
    pub fn is_fatal_alert(&self) -> bool {
        self.content_type == content::ALERT && self.epoch == 0 && self.body().first() == Some(&2)
    }
}

/// The records of a datagram; ends at the first that is cut off.
pub fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<RECORD_HEADER>()?;
        let [
            content_type,
            major,
            _,
            epoch_high,
            epoch_low,
            _,
            _,
            _,
            _,
            _,
            _,
            length_high,
            length_low,
        ] = *header;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        // DTLS versions begin with 0xfe.
        if major != 0xfe {
            return None;
        }
        let (bytes, more) = rest.split_at_checked(RECORD_HEADER + length)?;
        rest = more;
        Some(Record {
            content_type,
            epoch: u16::from_be_bytes([epoch_high, epoch_low]),
            bytes,
        })
    })
}

/// A fragment of a handshake message in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Type of the message.
    pub message_type: u8,
    /// Length of the whole message.
    pub length: usize,
    /// Number of the message.
    pub sequence: u16,
    /// Where the fragment begins in the message.
    pub offset: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The fragments in the body of a handshake record, or None if it is not exactly made of such.
pub fn fragments(mut body: &[u8]) -> Option<Vec<Fragment<'_>>> {
    let mut fragments = Vec::new();
    while !body.is_empty() {
        let (header, rest) = body.split_first_chunk::<HANDSHAKE_HEADER>()?;
        let [message_type, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = *header;
        let number = |bytes: [u8; 3]| usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let (length, offset, size) = (number([l0, l1, l2]), number([o0, o1, o2]), number([f0, f1, f2]));
        let (bytes, more) = rest.split_at_checked(size)?;
        let fits = length <= MAX_MESSAGE && offset + size <= length && (size > 0 || length == 0);
        if !fits {
            return None;
        }
        fragments.push(Fragment {
            message_type,
            length,
            sequence: u16::from_be_bytes([s0, s1]),
            offset,
            bytes,
        });
        body = more;
    }
    (!fragments.is_empty()).then_some(fragments)
}

/// Lets records pass, or not.
#[derive(Debug, Default)]
pub struct Gate {
    records: u32,
    bytes: usize,
    late_answers: u32,
}

impl Gate {
    /// The part of a datagram that may be handled; empty if nothing may. `established`: the handshake is over.
    pub fn filter(&mut self, datagram: &[u8], established: bool) -> Vec<u8> {
        let mut kept = Vec::with_capacity(datagram.len());
        let mut late = false;
        for record in records(datagram) {
            let is_late = established && record.content_type == content::HANDSHAKE;
            if !(is_late && late) && self.admits(&record, established) {
                kept.extend_from_slice(record.bytes);
                late |= is_late;
            }
        }
        kept
    }

    /// A handshake record that came after the handshake was authentic, and has been answered.
    pub fn answered(&mut self) {
        self.late_answers = self.late_answers.saturating_add(1);
    }

    fn admits(&mut self, record: &Record<'_>, established: bool) -> bool {
        let sound = match record.content_type {
            content::HANDSHAKE if record.epoch == 0 => fragments(record.body()).is_some(),
            content::HANDSHAKE => true,
            content::CHANGE_CIPHER_SPEC if record.epoch == 0 => record.body() == [1],
            // A warning in the clear says nothing that is needed, and anybody may have sent it.
            content::ALERT if record.epoch == 0 => record.is_fatal_alert() && record.body().len() == 2,
            content::APPLICATION_DATA if record.epoch == 0 => false,
            content::CHANGE_CIPHER_SPEC | content::ALERT | content::APPLICATION_DATA => true,
            _ => false,
        };
        if !sound {
            return false;
        }
        if !established {
            self.records += u32::from(record.content_type == content::HANDSHAKE);
            self.bytes = self.bytes.saturating_add(record.bytes.len());
            return self.records <= MAX_HANDSHAKE_RECORDS && self.bytes <= MAX_HANDSHAKE_BYTES;
        }
        // Anybody can write one in the clear. Those that do not decrypt cost nothing and do not count.
        let awaited = record.content_type != content::HANDSHAKE
            || (record.bytes.len() <= MAX_LATE_RECORD && self.late_answers < MAX_LATE_ANSWERS);
        record.epoch > 0 && awaited
    }
}
