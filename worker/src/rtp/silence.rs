//! When a received stream has been silent for too long.
//!
//! Times are microseconds of a monotonic clock.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// Silence after which a stream counts as inactive, in microseconds.
const PATIENCE: u64 = 1_500_000;
/// The same when the sender may use discontinuous transmission.
const PATIENCE_DTX: u64 = 5_000_000;
/// The same, at least, if other streams of the same source went on with so many pictures meanwhile: their sender has turned
/// this one off, and whoever watches it sees nothing until another one is chosen.
const PATIENCE_AMONG_OTHERS: u64 = 300_000;
const PICTURES_OF_OTHERS: u32 = 8;
/// Nor is a stream given up before so many of its own intervals between pictures.
const INTERVALS: u64 = 4;
/// Weight of a new interval between pictures, as a divisor.
const WEIGHT: u64 = 8;

/// What tells whether a stream goes on.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    last_packet_at: u64,
    /// Pictures of other streams of the same source since then.
    pictures_of_others: u32,
    /// When the last of its own pictures was complete, and the usual time between two of them.
    picture_at: u64,
    interval: u64,
}

impl Silence {
    /// It has just begun.
    pub fn new(now: u64) -> Self {
        Self {
            last_packet_at: now,
            pictures_of_others: 0,
            picture_at: now,
            interval: 0,
        }
    }

    /// A packet came.
    pub fn end(&mut self, now: u64) {
        self.last_packet_at = now;
        self.pictures_of_others = 0;
    }

    /// A picture is complete.
    pub fn picture(&mut self, now: u64) {
        let before = std::mem::replace(&mut self.picture_at, now);
        let interval = now.saturating_sub(before).min(PATIENCE);
        self.interval = ((WEIGHT - 1) * self.interval + interval) / WEIGHT;
    }

    /// Another stream of the same source has sent a picture.
    pub fn picture_of_another(&mut self) {
        self.pictures_of_others = self.pictures_of_others.saturating_add(1);
    }

    /// When it will have been too long, as far as is known now. `dtx`: the sender may use discontinuous transmission.
    pub fn too_long_at(&self, dtx: bool) -> u64 {
        let patience = if dtx {
            PATIENCE_DTX
        } else if self.pictures_of_others >= PICTURES_OF_OTHERS {
            (INTERVALS * self.interval).clamp(PATIENCE_AMONG_OTHERS, PATIENCE)
        } else {
            PATIENCE
        };
        self.last_packet_at + patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    #[test]
    fn a_stream_that_stops_while_others_go_on_is_given_up_sooner() {
        // 30 pictures of another one a second, and of this one so many fewer.
        for (fewer, patience) in [(1, 330), (6, 792)] {
            let mut silence = Silence::new(0);
            for other in 0..300_u64 {
                let at = other * 33 * MS;
                if other % fewer == 0 {
                    silence.end(at);
                    silence.picture(at);
                }
                silence.picture_of_another();
                assert!(silence.too_long_at(false) > at, "{fewer}: {other}");
            }
            let last = 33 * (299 - 299 % fewer);
            let mut other = 299;
            while silence.too_long_at(false) > other * 33 * MS {
                other += 1;
                silence.picture_of_another();
            }
            assert_eq!(other * 33 - last, patience, "{fewer}");
        }
    }

    #[test]
    fn alone_it_may_be_silent_for_longer() {
        let mut silence = Silence::new(7 * MS);
        silence.picture(7 * MS);
        assert_eq!(silence.too_long_at(false), 1507 * MS);
        assert_eq!(silence.too_long_at(true), 5007 * MS);
    }
}
