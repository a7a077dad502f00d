//! Scores from 0 to 10 of how well a stream gets through.

/// Values that a score is made of.
const HISTORY: usize = 24;

/// The best score.
pub const MAX_SCORE: u8 = 10;

/// Mean of the last values; newer ones weigh more.
#[derive(Debug, Clone)]
pub struct Score {
    history: [u8; HISTORY],
    length: usize,
    value: u8,
}

impl Score {
    /// Starts with a value and no history.
    pub fn new(value: u8) -> Self {
        Self {
            history: [0; HISTORY],
            length: 0,
            value: value.min(MAX_SCORE),
        }
    }

    /// The current score.
    pub fn value(&self) -> u8 {
        self.value
    }

    /// Takes a measurement. True: the score changed.
    pub fn push(&mut self, value: u8) -> bool {
        if self.length == HISTORY {
            self.history.rotate_left(1);
        } else {
            self.length += 1;
        }
        if let Some(newest) = self.history.get_mut(self.length - 1) {
            *newest = value.min(MAX_SCORE);
        }
        let (mut weights, mut sum) = (0u32, 0u32);
        for (weight, value) in (1..).zip(self.history.iter().take(self.length)) {
            weights += weight;
            sum += weight * u32::from(*value);
        }
        let score = ((sum + weights / 2) / weights.max(1)) as u8;
        std::mem::replace(&mut self.value, score) != score
    }

    /// Sets the score and forgets the history. True: the score changed.
    pub fn reset(&mut self, value: u8) -> bool {
        let before = self.value;
        *self = Self::new(value);
        before != self.value
    }
}

/// The measurement of a received stream between two sender reports: packets expected and received without
/// retransmission, losses repaired, retransmissions that came, and whether the stream can be repaired by RTX.
pub fn evaluate_received(expected: u64, received: u64, repaired: u64, retransmitted: u64, has_rtx: bool) -> u8 {
    if expected == 0 {
        return MAX_SCORE;
    }
    if received == 0 {
        return 0;
    }
    let mut lost = expected.saturating_sub(received).min(received);
    let mut repaired = repaired;
    if repaired > lost {
        if has_rtx {
            repaired = lost;
        } else {
            // Without RTX a repair is a packet that was late: it was not received twice, but lost before.
            lost = repaired.min(received);
            repaired = lost;
        }
    }
    measure(received, lost, repaired, retransmitted)
}

/// The measurement of a sent stream between two receiver reports: packets sent, lost according to the reports, and
/// resent for the first time and at all.
pub fn evaluate_sent(sent: u64, lost: u64, repaired: u64, retransmitted: u64) -> u8 {
    if sent == 0 {
        return MAX_SCORE;
    }
    let lost = lost.min(sent);
    measure(sent, lost, repaired.min(lost), retransmitted)
}

/// `repaired <= lost <= base` and `base > 0`.
fn measure(base: u64, lost: u64, repaired: u64, retransmitted: u64) -> u8 {
    let (base, lost, repaired) = (base as f64, lost as f64, repaired as f64);
    let mut weight = (1.0 / (1.0 + repaired / base)).powi(4);
    if retransmitted > 0 {
        // Fewer retransmissions than repairs is a matter of counting at different moments.
        weight *= repaired / (retransmitted as f64).max(repaired);
    }
    // Whole packets, rounded down: half a packet lost is none.
    let delivered = ((base - (lost - repaired * weight).floor()) / base).clamp(0.0, 1.0);
    (10.0 * delivered.powi(4)).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_values_weigh_more() {
        let mut score = Score::new(10);
        assert!(!score.push(10));
        assert!(score.push(0));
        assert_eq!(score.value(), 3);
        for _ in 0..23 {
            score.push(0);
        }
        assert!(!score.push(0));
        assert_eq!(score.value(), 0);
        assert!(score.reset(10));
        assert_eq!(score.value(), 10);
    }

    #[test]
    fn evaluations() {
        assert_eq!(evaluate_received(0, 5, 0, 0, true), 10);
        assert_eq!(evaluate_received(5, 0, 0, 0, true), 0);
        assert_eq!(evaluate_received(100, 100, 0, 0, true), 10);
        assert_eq!(evaluate_received(200, 100, 0, 0, true), 0);
        assert_eq!(evaluate_received(110, 100, 0, 0, true), 7);
        assert!(evaluate_received(110, 100, 10, 10, true) > 7);
        // As recorded: of seven packets two came late, on request.
        assert_eq!(evaluate_received(7, 7, 2, 2, false), 5);
        assert_eq!(evaluate_sent(0, 5, 0, 0), 10);
        assert_eq!(evaluate_sent(100, 500, 0, 0), 0);
    }

    proptest::proptest! {
        #[test]
        fn always_a_score(a: u64, b: u64, c: u64, d: u64, rtx: bool) {
            proptest::prop_assert!(evaluate_received(a, b, c, d, rtx) <= MAX_SCORE);
            proptest::prop_assert!(evaluate_sent(a, b, c, d) <= MAX_SCORE);
        }
    }
}
