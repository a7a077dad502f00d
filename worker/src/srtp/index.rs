//! From 16-bit sequence numbers to 48-bit packet indices (RFC 3711 section 3.3.1).

/// Half of the sequence number space.
const HALF: u16 = 1 << 15;

/// The index that a packet with this sequence number most likely has, after `highest` was the highest so far; `None`
/// once the rollover counter would overflow.
///
/// Before the first packet the rollover counter is zero. A step back from there does not exist, so where the RFC's
/// formula gives "one less than zero" the packet is taken as a jump ahead within the first cycle. Other stacks do the
/// same, and both ends must agree.
pub(super) fn estimate(highest: Option<u64>, sequence: u16) -> Option<u64> {
    let Some(highest) = highest else {
        return Some(u64::from(sequence));
    };
    let (roc, last) = (roc(highest), highest as u16);
    let guess = if last < HALF {
        if sequence.saturating_sub(last) > HALF {
            roc.saturating_sub(1)
        } else {
            roc
        }
    } else if last - HALF > sequence {
        roc.checked_add(1)?
    } else {
        roc
    };
    Some(u64::from(guess) << 16 | u64::from(sequence))
}

/// The rollover counter of an index.
pub(super) fn roc(index: u64) -> u32 {
    (index >> 16) as u32
}
