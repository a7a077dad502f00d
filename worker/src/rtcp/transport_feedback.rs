//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 3.1): which packets of a transport
//! arrived, and when.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// Microseconds of one unit of arrival times.
const TICK: i64 = 250;
/// Microseconds of one unit of reference times.
const REFERENCE_TICK: i64 = 64_000;
/// Statuses of one message.
const MAX_STATUSES: usize = 65_535 - 7;
/// Statuses of one run-length chunk: 13 bits.
const MAX_RUN: usize = 8191;
/// Equal statuses that make a run-length chunk worth while.
const MIN_RUN: usize = 7;
/// Statuses of a chunk of one or two bits each.
const ONE_BIT: usize = 14;
const TWO_BIT: usize = 7;
/// Bytes before the chunks: RTCP header, two SSRCs, and eight of base, count, reference time and message count.
const FIXED: usize = 20;

/// Statuses as they are written.
const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

#[derive(Debug, Clone, Copy)]
struct Status {
    symbol: u8,
    /// In ticks since the packet received before it.
    delta: i16,
}

/// Writes feedback. It only holds space that is used again.
#[derive(Debug, Default)]
pub struct TransportFeedbackBuilder {
    statuses: Vec<Status>,
    chunks: Vec<u16>,
}

impl TransportFeedbackBuilder {
    /// Nothing allocated.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a message of at most `room` bytes about packets from `base` on: when each arrived in microseconds, or
    /// None for one that did not. Returns about how many of them it tells, 0 if none of them arrived; then nothing is
    /// appended. The rest is for another message.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        media_ssrc: u32,
        message_count: u8,
        base: u16,
        arrivals: impl Iterator<Item = Option<u64>>,
        room: usize,
    ) -> usize {
        let reference = self.measure(arrivals);
        let Some(reference) = reference else { return 0 };
        let (told, bytes) = self.arrange(room);
        let statuses = self.statuses.get(..told).unwrap_or_default();
        if statuses.iter().all(|status| status.symbol == NOT_RECEIVED) {
            return 0;
        }
        let padding = bytes.next_multiple_of(4) - bytes;
        let words = ((bytes + padding) / 4 - 1) as u16;
        out.extend_from_slice(&[if padding > 0 { 0xa0 } else { 0x80 } | 15, 205]);
        out.extend_from_slice(&words.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&media_ssrc.to_be_bytes());
        out.extend_from_slice(&base.to_be_bytes());
        out.extend_from_slice(&(told as u16).to_be_bytes());
        // 24 bits with sign.
        let [_, reference @ ..] = (reference as i32).to_be_bytes();
        out.extend_from_slice(&reference);
        out.push(message_count);
        for chunk in &self.chunks {
            out.extend_from_slice(&chunk.to_be_bytes());
        }
        for status in statuses {
            match status.symbol {
                SMALL_DELTA => out.push(status.delta as u8),
                LARGE_DELTA => out.extend_from_slice(&status.delta.to_be_bytes()),
                _ => {}
            }
        }
        for left in (0..padding).rev() {
            out.push(if left == 0 { padding as u8 } else { 0 });
        }
        told
    }

    /// Turns arrivals into statuses; returns the reference time in its ticks. Each difference is rounded against what
    /// the reader will have added up so far, so that errors do not.
    fn measure(&mut self, arrivals: impl Iterator<Item = Option<u64>>) -> Option<i64> {
        self.statuses.clear();
        let mut reference = None;
        let mut told = 0;
        for arrival in arrivals.take(MAX_STATUSES) {
            let Some(arrival) = arrival else {
                self.statuses.push(Status {
                    symbol: NOT_RECEIVED,
                    delta: 0,
                });
                continue;
            };
            let arrival = i64::try_from(arrival).unwrap_or(i64::MAX);
            if reference.is_none() {
                reference = Some(arrival / REFERENCE_TICK);
                told = arrival - arrival % REFERENCE_TICK;
            }
            let ticks = (arrival - told + TICK / 2).div_euclid(TICK);
            // Too far from the one before: another message starts there.
            let Ok(delta) = i16::try_from(ticks) else { break };
            told += ticks * TICK;
            let symbol = if (0..256).contains(&delta) {
                SMALL_DELTA
            } else {
                LARGE_DELTA
            };
            self.statuses.push(Status { symbol, delta });
        }
        reference
    }

    /// Chooses chunks for as many statuses as fit; returns how many these are, and the bytes of the message.
    fn arrange(&mut self, room: usize) -> (usize, usize) {
        self.chunks.clear();
        let (mut told, mut bytes) = (0, FIXED);
        while let Some(first) = self.statuses.get(told) {
            let rest = self.statuses.get(told..).unwrap_or_default();
            let run = rest
                .iter()
                .take(MAX_RUN)
                .take_while(|status| status.symbol == first.symbol);
            let run = run.count();
            let (chunk, length) = if run >= MIN_RUN {
                (u16::from(first.symbol) << 13 | run as u16, run)
            } else if rest.iter().take(ONE_BIT).all(|status| status.symbol != LARGE_DELTA) {
                let bits = rest.iter().take(ONE_BIT).enumerate();
                let bits = bits.fold(0, |bits, (at, status)| bits | u16::from(status.symbol) << (13 - at));
                (0x8000 | bits, rest.len().min(ONE_BIT))
            } else {
                let bits = rest.iter().take(TWO_BIT).enumerate();
                let bits = bits.fold(0, |bits, (at, status)| bits | u16::from(status.symbol) << (12 - 2 * at));
                (0xc000 | bits, rest.len().min(TWO_BIT))
            };
            let deltas: usize = rest.iter().take(length).map(|status| usize::from(status.symbol)).sum();
            let (mut chunk, mut length, mut added) = (chunk, length, 2 + deltas);
            // With padding to a whole word.
            if (bytes + added).next_multiple_of(4) > room {
                // A run can be cut short; anything else waits for the next message.
                let each = usize::from(first.symbol);
                let left = (room - room % 4).saturating_sub(bytes + 2);
                if run < MIN_RUN || each == 0 || left / each == 0 {
                    break;
                }
                length = length.min(left / each);
                chunk = u16::from(first.symbol) << 13 | length as u16;
                added = 2 + length * each;
                self.chunks.push(chunk);
                return (told + length, bytes + added);
            }
            self.chunks.push(chunk);
            told += length;
            bytes += added;
        }
        (told, bytes)
    }
}

/// Reads feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportFeedback<'a> {
    /// Sequence number of the first packet told about.
    pub base: u16,
    /// How many packets it tells about.
    pub status_count: u16,
    /// What the differences add to, in 64 ms.
    pub reference_time: i32,
    /// Number of the message, modulo 256.
    pub message_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    /// From what follows the SSRCs. None: it is cut short, or a chunk is missing.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (&[b0, b1, c0, c1, t0, t1, t2, message_count], rest) = body.split_first_chunk::<8>()?;
        let status_count = u16::from_be_bytes([c0, c1]);
        let (mut told, mut length) = (0, 0);
        while told < usize::from(status_count) {
            let chunk = rest.get(length..length + 2)?;
            told += chunk_length(u16::from_be_bytes([*chunk.first()?, *chunk.get(1)?]));
            length += 2;
        }
        let (chunks, deltas) = rest.split_at_checked(length)?;
        Some(Self {
            base: u16::from_be_bytes([b0, b1]),
            status_count,
            reference_time: i32::from_be_bytes([t0, t1, t2, 0]) >> 8,
            message_count,
            chunks,
            deltas,
        })
    }

    /// The packets told about: sequence number, and when it arrived in microseconds (from an arbitrary zero), if it
    /// did. Ends where a difference is missing.
    pub fn packets(&self) -> impl Iterator<Item = (u16, Option<i64>)> + 'a {
        let mut deltas = self.deltas;
        let mut at = i64::from(self.reference_time) * REFERENCE_TICK;
        let base = self.base;
        let symbols = self.chunks.chunks_exact(2).flat_map(|chunk| {
            let chunk = chunk.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            (0..chunk_length(chunk)).map(move |index| symbol(chunk, index))
        });
        symbols
            .take(self.status_count.into())
            .enumerate()
            .map_while(move |(index, symbol)| {
                let sequence_number = base.wrapping_add(index as u16);
                let (delta, rest) = match symbol {
                    NOT_RECEIVED => return Some((sequence_number, None)),
                    SMALL_DELTA => deltas.split_first().map(|(delta, rest)| (i64::from(*delta), rest))?,
                    // The fourth symbol is reserved: it has no difference that we know of.
                    LARGE_DELTA => {
                        let (delta, rest) = deltas.split_first_chunk::<2>()?;
                        (i64::from(i16::from_be_bytes(*delta)), rest)
                    }
                    _ => return None,
                };
                deltas = rest;
                at += delta * TICK;
                Some((sequence_number, Some(at)))
            })
    }
}

/// How many statuses a chunk has room for. A run of none counts as one, so that every chunk is progress.
fn chunk_length(chunk: u16) -> usize {
    match chunk >> 14 {
        0 | 1 => usize::from(chunk & 0x1fff).max(1),
        2 => ONE_BIT,
        _ => TWO_BIT,
    }
}

fn symbol(chunk: u16, index: usize) -> u8 {
    let bits = match chunk >> 14 {
        0 | 1 if chunk & 0x1fff == 0 => 0,
        0 | 1 => chunk >> 13 & 3,
        2 => chunk >> (13 - index.min(13)) & 1,
        _ => chunk >> (12 - 2 * index.min(6)) & 3,
    };
    bits as u8
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(arrivals: &[Option<u64>], room: usize) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let told = TransportFeedbackBuilder::new().write(&mut out, 5, 9, 65_530, arrivals.iter().copied(), room);
        (out, told)
    }

    #[test]
    fn a_message_by_hand() {
        // Reference 2 * 64 ms; 1 ms later, one missing, 2 ms earlier than that.
        let (out, told) = write(&[Some(129_000), None, Some(127_000)], 1200);
        assert_eq!(told, 3);
        let expected = "af cd 0006 00000000 00000005 fffa 0003 000002 09 d200 04 fff8 000003";
        assert_eq!(hex::encode(out), expected.replace(' ', ""));
    }

    #[test]
    fn runs_and_bits() {
        let mut arrivals = vec![Some(64_000); 20];
        arrivals.extend([None, Some(64_000), None]);
        let (out, told) = write(&arrivals, 1200);
        assert_eq!(told, 23);
        // A run of 20, then bits.
        assert_eq!(hex::encode(&out[20..24]), "20149000");
        let (out, told) = write(&[None; 30], 1200);
        assert_eq!((out.len(), told), (0, 0), "nothing arrived, nothing to tell");
    }

    #[test]
    fn hostile_counts_end() {
        let parse = |text: &str| {
            let body = hex::decode(text.replace(' ', "")).unwrap();
            TransportFeedback::parse(&body).map(|feedback| feedback.packets().count())
        };
        assert_eq!(
            parse("0001 ffff 000000 00 ffff"),
            None,
            "65535 statuses in one chunk of seven"
        );
        assert_eq!(parse("0001 0002 000000 00 3fff"), Some(0), "received, but no times");
        assert_eq!(
            parse("0001 0002 000000 00 3fff 01 02 03"),
            Some(2),
            "a run past the count"
        );
        assert_eq!(parse("0001 0003 000000 00 0000 0000 0000"), Some(3), "runs of none");
        assert_eq!(parse("0001 0001 000000 00 6001"), Some(0), "the reserved symbol");
        assert_eq!(parse("0001"), None);
    }

    #[test]
    fn the_reference_time_has_a_sign() {
        let body = hex::decode("0001000180000000200104").unwrap();
        let feedback = TransportFeedback::parse(&body).unwrap();
        let arrived = -0x80_0000 * REFERENCE_TICK + 1000;
        assert_eq!(feedback.packets().collect::<Vec<_>>(), [(1, Some(arrived))]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            start in 0u64..500_000_000_000,
            steps in prop::collection::vec((0u8..12, -300_000i64..300_000), 1..3000),
            small: bool,
            room in 40usize..1300,
        ) {
            let mut now = start + 1_000_000_000;
            let arrivals: Vec<Option<u64>> = steps
                .iter()
                .map(|(kind, step)| {
                    now = now.saturating_add_signed(if small { step.abs() / 100 } else { *step });
                    (*kind > 3).then_some(now)
                })
                .collect();
            let (mut rest, mut base) = (arrivals.as_slice(), 65_530_u16);
            let mut builder = TransportFeedbackBuilder::new();
            while rest.iter().any(Option::is_some) {
                let mut out = Vec::new();
                let told = builder.write(&mut out, 5, 9, base, rest.iter().copied(), room);
                if told == 0 {
                    // Only where missing ones alone fill a message: the caller skips them.
                    let missing = rest.iter().take_while(|arrival| arrival.is_none()).count();
                    prop_assert!(missing > 0);
                    base = base.wrapping_add(missing as u16);
                    rest = &rest[missing..];
                    continue;
                }
                prop_assert!(out.len() <= room && out.len().is_multiple_of(4));
                let mut compound = crate::rtcp::parse(&out).unwrap();
                let Some(crate::rtcp::RtcpPacket::TransportFeedback { media_ssrc: 5, body }) = compound.next() else {
                    panic!("not read back");
                };
                prop_assert!(compound.next().is_none());
                let feedback = TransportFeedback::parse(body).unwrap();
                prop_assert_eq!((feedback.base, feedback.message_count), (base, 9));
                let read: Vec<_> = feedback.packets().collect();
                prop_assert_eq!(read.len(), told);
                let zero = rest.iter().flatten().next().unwrap() / 64_000;
                for ((sequence_number, read), (index, arrival)) in read.iter().zip(rest.iter().enumerate()) {
                    prop_assert_eq!(*sequence_number, base.wrapping_add(index as u16));
                    // From the reference on; modulo 2^24 of it.
                    let read = read.map(|at| at - i64::from(feedback.reference_time) * 64_000);
                    let arrival = arrival.map(|at| at as i64 - (zero * 64_000) as i64);
                    prop_assert_eq!(read.is_some(), arrival.is_some());
                    if let (Some(read), Some(arrival)) = (read, arrival) {
                        prop_assert!((read - arrival).abs() <= TICK / 2, "{} {}", read, arrival);
                    }
                }
                rest = &rest[told..];
                base = base.wrapping_add(told as u16);
            }
        }

        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(feedback) = TransportFeedback::parse(&body) {
                prop_assert!(feedback.packets().count() <= usize::from(feedback.status_count));
            }
        }
    }
}
