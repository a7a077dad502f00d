//! Priorities of candidates.

/// Type preference. Lower than the 126 that RFC 8445 section 5.1.2.2 gives host candidates, as clients know it.
const TYPE_PREFERENCE: u32 = 64;
/// Local preference of the first address.
const FIRST_ADDRESS: u32 = 10_000;
/// What each further address has less.
const NEXT_ADDRESS: u32 = 100;
/// What the preferred protocol has more.
const PREFERRED: u32 = 1000;
/// The only component: RTP and RTCP share it.
const COMPONENT: u32 = 1;

/// Priority of the candidate of the `index`th address (RFC 8445 section 5.1.2.1); `preferred` says whether its protocol
/// is.
pub fn priority(index: usize, preferred: bool) -> u32 {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let local =
        FIRST_ADDRESS.saturating_sub(NEXT_ADDRESS.saturating_mul(index)) + if preferred { PREFERRED } else { 0 };
    (TYPE_PREFERENCE << 24) | (local << 8) | (256 - COMPONENT)
}
