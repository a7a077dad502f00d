//! H.264 payloads (RFC 6184 5).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// NAL unit type of a sequence parameter set.
const SPS: u8 = 7;

/// Whether a payload begins a picture to decode from, which is told by a sequence parameter set: an IDR picture
/// without one is of no use to a receiver that has just come.
pub fn is_key_frame(payload: &[u8]) -> bool {
    let [first, second, ..] = payload else { return false };
    match first & 0x1f {
        SPS => true,
        24 => stap_a_has_sps(payload.get(1..).unwrap_or_default()),
        28 | 29 => second & 0x80 != 0 && second & 0x1f == SPS,
        _ => false,
    }
}

/// Walks aggregated units, each after 16 bits of its size (RFC 6184 5.7.1); stops at one that does not fit.
fn stap_a_has_sps(mut units: &[u8]) -> bool {
    while let Some((size, rest)) = units.split_first_chunk::<2>() {
        let Some((unit, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size))) else {
            break;
        };
        if unit.first().is_some_and(|header| header & 0x1f == SPS) {
            return true;
        }
        units = rest;
    }
    false
}
