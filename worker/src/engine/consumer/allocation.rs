//! Sharing what can be sent among the consumers of a transport.
//!
//! Each consumer offers a ladder: layers from the least to the preferred ones, each with the rate of all that it needs.
//! First everybody gets the lowest step, in the order of priorities; then they climb, as many steps at once as their
//! priority says, until nothing fits any more. What a consumer sends already it keeps if it fits at all; to climb beyond
//! takes room to spare, and time since it last had to go down. So a steady path gives steady layers.

use smallvec::SmallVec;

use super::layers::Layers;

/// To climb, so much more must be possible than would be sent.
const ROOM: f64 = 1.1;
/// After it had to go down, a consumer stays there for so long, in microseconds; each time that climbing again failed
/// soon, twice as long, up to the second.
const HOLD: (u64, u64) = (10_000_000, 60_000_000);
/// Climbing failed if it lasted no longer.
const FAILED: u64 = 15_000_000;
/// What it climbed to begins with a key frame, which fills the path for a moment: for so long (microseconds) it is kept
/// while this share of it is possible.
const FRESH: u64 = 3_000_000;
const FRESH_SHARE: f64 = 0.7;
/// With so much more possible than would be sent, it may climb at once.
const PLENTY: f64 = 2.0;
/// Shortest time that somebody stands first among equals, in microseconds.
const TURN: u64 = 30_000_000;
/// A stream younger than this is not climbed to from an older one, in microseconds: it may stop again.
const YOUNG: u64 = 2_000_000;

/// What a spatial layer offers.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Whether it can be sent.
    pub usable: bool,
    /// Since when there is something in it.
    pub since: u64,
    /// Bits per second by temporal layer, each with all that it needs.
    pub rates: SmallVec<[u32; 4]>,
}

/// Layers that a consumer can send, and what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The layers.
    pub layers: Layers,
    /// Bits per second.
    pub rate: u32,
}

/// Steps from the least on.
pub type Ladder = SmallVec<[Step; 9]>;

/// The steps up to what is preferred; beyond it, the lowest if there is nothing else.
pub fn ladder(offers: &[Offer], preferred: Layers, now: u64) -> Ladder {
    let mut steps = Ladder::new();
    let young = |since: u64| now.saturating_sub(since) < YOUNG;
    let mut below: Option<u64> = None;
    for (spatial, offer) in (0..).zip(offers) {
        if spatial > preferred.spatial && !steps.is_empty() {
            break;
        }
        if !offer.usable || below.is_some_and(|since| young(offer.since) && !young(since)) {
            continue;
        }
        let mut before = 0;
        for (temporal, rate) in (0..=preferred.temporal).zip(offer.rates.iter().copied()) {
            // Nothing has come of it lately. What is known to be there, but not how much it is, can only be begun with.
            if rate == before && !(temporal == 0 && steps.is_empty()) {
                break;
            }
            before = rate;
            steps.push(Step {
                layers: Layers { spatial, temporal },
                rate,
            });
        }
        below = Some(offer.since);
    }
    steps
}

/// What a consumer claims.
#[derive(Debug)]
pub struct Claim {
    /// What it can send.
    pub ladder: Ladder,
    /// 1 to 255.
    pub priority: u8,
    /// What it aims at now.
    pub target: Option<Layers>,
    /// Whether it had to go down lately.
    pub held: bool,
    /// Whether it went up just now.
    pub fresh: bool,
    /// The step that it gets.
    pub granted: Option<usize>,
}

impl Claim {
    fn rate(&self) -> u32 {
        let step = self.granted.and_then(|index| self.ladder.get(index));
        step.map_or(0, |step| step.rate)
    }

    /// Climbs a step, if that fits into what is `possible` beside what is `used`. Returns what that takes.
    fn climb(&mut self, possible: Possible, used: u64) -> Option<i64> {
        let next = self.granted.map_or(0, |index| index + 1);
        let step = self.ladder.get(next)?;
        let added = i64::from(step.rate) - i64::from(self.rate());
        let after = used.saturating_add_signed(added);
        let keeps = self.target.is_some_and(|target| step.layers <= target);
        // To send at all comes before all else.
        let available = if keeps { possible.kept } else { possible.new };
        let factor = match (keeps, self.held) {
            (true, _) if self.fresh => FRESH_SHARE,
            (true, _) => 1.0,
            (false, _) if next == 0 => 1.0,
            (false, false) => ROOM,
            (false, true) => PLENTY,
        };
        if after as f64 * factor > f64::from(available) {
            return None;
        }
        self.granted = Some(next);
        Some(added)
    }

    /// What must be possible for it to climb, while so much is used in all.
    fn next(&self, used: u32) -> Option<u32> {
        let step = self.ladder.get(self.granted.map_or(0, |index| index + 1))?;
        let after = used.saturating_sub(self.rate()).saturating_add(step.rate);
        Some((f64::from(after) * ROOM) as u32)
    }

    /// The layers that it gets.
    pub fn layers(&self) -> Option<Layers> {
        Some(self.ladder.get(self.granted?)?.layers)
    }
}

/// What can be sent in all, in bits per second.
#[derive(Debug, Clone, Copy)]
pub struct Possible {
    /// By those who climb.
    pub new: u32,
    /// By those who keep what they send: not less.
    pub kept: u32,
}

/// Shares what is possible among claims, each with whose it is; returns how much is used.
pub fn share<K>(claims: &mut [(K, Claim)], possible: Possible) -> u32 {
    // Of equals, whoever stands before: see `Turns`.
    claims.sort_by_key(|(_, claim)| std::cmp::Reverse(claim.priority));
    let (mut first, mut used) = (true, 0_u64);
    loop {
        let mut climbed = false;
        for (_, claim) in &mut *claims {
            for _ in 0..if first { 1 } else { claim.priority.max(1) } {
                let Some(added) = claim.climb(possible, used) else {
                    break;
                };
                used = used.saturating_add_signed(added);
                climbed = true;
            }
        }
        if !climbed {
            return u32::try_from(used).unwrap_or(u32::MAX);
        }
        first = false;
    }
}

/// Whose turn it is to stand first among equals, and so to get the step for which there is room once only. The turn goes
/// to the next one when others than before make claims, but not more often than every `TURN`: somebody begins or stops
/// to send then, so that layers change anyway. In between it stays, for a steady path is to give steady layers: each turn
/// costs two changes of layers, and key frames on a path that is full.
#[derive(Debug)]
pub struct Turns<K> {
    known: Vec<K>,
    first: usize,
    turned_at: u64,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            first: 0,
            turned_at: 0,
        }
    }
}

impl<K: Copy + PartialEq> Turns<K> {
    /// Puts claims in order, which come in the same order always.
    pub fn order(&mut self, claims: &mut [(K, Claim)], now: u64) {
        let keys = claims.iter().map(|(key, _)| *key);
        if !keys.clone().eq(self.known.iter().copied()) {
            let was_first = self.known.get(self.first).copied();
            self.known.clear();
            self.known.extend(keys);
            // Of one who is gone the place is left, and with it whoever came next.
            let place = self.known.iter().position(|key| Some(*key) == was_first);
            self.first = place.unwrap_or(self.first);
            if now.saturating_sub(self.turned_at) >= TURN {
                (self.first, self.turned_at) = (self.first + usize::from(place.is_some()), now);
            }
            self.first %= self.known.len().max(1);
        }
        claims.rotate_left(self.first);
    }
}

/// What must be possible for any of these claims to get more, in bits per second; None if each has all it wants.
pub fn next<K>(claims: &[(K, Claim)], used: u32) -> Option<u32> {
    claims.iter().filter_map(|(_, claim)| claim.next(used)).min()
}

/// Remembers that a consumer had to go down, so that it does not go up and down.
#[derive(Debug, Default, Clone, Copy)]
pub struct Restraint {
    until: u64,
    hold: u64,
    climbed_at: Option<u64>,
}

impl Restraint {
    /// Whether it had to go down lately.
    pub fn holds(&self, now: u64) -> bool {
        now < self.until
    }

    /// Whether it went up just now.
    pub fn is_fresh(&self, now: u64) -> bool {
        self.climbed_at.is_some_and(|at| now.saturating_sub(at) < FRESH)
    }

    /// It goes from one target to another.
    pub fn moved(&mut self, from: Option<Layers>, to: Option<Layers>, now: u64) {
        if to > from {
            self.climbed_at = from.map(|_| now);
        } else if to < from {
            let failed = self.climbed_at.take().is_some_and(|at| now.saturating_sub(at) < FAILED);
            self.hold = if failed {
                (2 * self.hold).clamp(HOLD.0, HOLD.1)
            } else if self.holds(now) {
                self.hold
            } else {
                HOLD.0
            };
            self.until = now + self.hold;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100_000_000;

    fn layers(spatial: u8, temporal: u8) -> Layers {
        Layers { spatial, temporal }
    }

    fn share<K>(claims: &mut [(K, Claim)], available: u32) -> u32 {
        let possible = Possible {
            new: available,
            kept: available,
        };
        super::share(claims, possible)
    }

    fn offers() -> Vec<Offer> {
        [[50, 100, 150], [200, 350, 500], [600, 1000, 1500]]
            .map(|rates| Offer {
                usable: true,
                since: 0,
                rates: rates.iter().map(|rate| rate * 1000).collect(),
            })
            .to_vec()
    }

    fn claim(priority: u8, target: Option<Layers>) -> Claim {
        Claim {
            ladder: ladder(&offers(), layers(2, 2), NOW),
            priority,
            target,
            held: false,
            fresh: false,
            granted: None,
        }
    }

    #[test]
    fn a_ladder_ends_at_what_is_preferred_and_leaves_out_what_is_not_there() {
        let all = ladder(&offers(), layers(2, 2), NOW);
        assert_eq!(all.len(), 9);
        assert!(all.windows(2).all(|two| two[0].rate < two[1].rate));
        let some = ladder(&offers(), layers(1, 0), NOW);
        let expected = [(layers(0, 0), 50_000), (layers(1, 0), 200_000)];
        assert_eq!(
            some.iter().map(|step| (step.layers, step.rate)).collect::<Vec<_>>(),
            expected
        );
        let mut gaps = offers();
        gaps[0].usable = false;
        gaps[1].rates[2] = gaps[1].rates[1];
        gaps[2].since = NOW - 1;
        let expected = [layers(1, 0), layers(1, 1)];
        let found = ladder(&gaps, layers(2, 2), NOW);
        assert_eq!(found.iter().map(|step| step.layers).collect::<Vec<_>>(), expected);
        // Only what is above the preferred layers is there, and nothing is known of it.
        gaps[1].usable = false;
        gaps[2].rates = SmallVec::from_slice(&[0, 0, 0]);
        let found = ladder(&gaps, layers(0, 2), NOW);
        assert_eq!(found.iter().map(|step| step.layers).collect::<Vec<_>>(), [layers(2, 0)]);
    }

    #[test]
    fn everybody_gets_the_lowest_layer_before_anybody_climbs() {
        let mut claims = [1, 200, 1].map(|priority| ((), claim(priority, None)));
        assert_eq!(share(&mut claims, 150_000), 150_000);
        assert!(claims.iter().all(|(_, claim)| claim.layers() == Some(layers(0, 0))));
        let mut claims = [1, 200, 1].map(|priority| ((), claim(priority, None)));
        let used = share(&mut claims, 800_000);
        assert!(used <= 800_000);
        let granted: Vec<_> = claims
            .iter()
            .map(|(_, claim)| (claim.priority, claim.layers()))
            .collect();
        assert_eq!(granted[0], (200, Some(layers(2, 0))));
        assert_eq!(granted[1].1, Some(layers(0, 0)));
        // The next one who gets more gets 100 instead of 50 kbit/s beside the 700 of all, and room.
        assert_eq!((used, next(&claims, used)), (700_000, Some(825_000)));
        share(&mut claims, 100_000_000);
        assert_eq!(next(&claims, 4_500_000), None);
        let mut claims = [1, 2].map(|priority| ((), claim(priority, None)));
        share(&mut claims, 40_000);
        assert!(claims.iter().all(|(_, claim)| claim.layers().is_none()));
    }

    #[test]
    fn what_is_sent_is_kept_and_climbing_needs_room() {
        let grant = |available: u32, target: Option<Layers>, held: bool| {
            let mut claims = [(
                (),
                Claim {
                    held,
                    ..claim(1, target)
                },
            )];
            share(&mut claims, available);
            claims[0].1.layers()
        };
        assert_eq!(grant(500_000, Some(layers(1, 2)), false), Some(layers(1, 2)));
        assert_eq!(grant(500_000, Some(layers(1, 1)), false), Some(layers(1, 1)));
        assert_eq!(grant(560_000, Some(layers(1, 1)), false), Some(layers(1, 2)));
        assert_eq!(grant(560_000, Some(layers(1, 1)), true), Some(layers(1, 1)));
        assert_eq!(grant(3_100_000, Some(layers(1, 1)), true), Some(layers(2, 2)));
        assert_eq!(grant(490_000, Some(layers(2, 2)), false), Some(layers(1, 1)));
        // A key frame of what it climbed to has just filled the path.
        let fresh = |available: u32| {
            let claim = Claim {
                fresh: true,
                ..claim(1, Some(layers(2, 0)))
            };
            let mut claims = [((), claim)];
            share(&mut claims, available);
            claims[0].1.layers()
        };
        assert_eq!(
            (fresh(450_000), fresh(400_000)),
            (Some(layers(2, 0)), Some(layers(1, 2)))
        );
    }

    #[test]
    fn what_is_sent_may_be_kept_with_less_than_it_takes_but_not_climbed_to() {
        let grant = |target: Layers, kept: u32| {
            let mut claims = [((), claim(1, Some(target)))];
            super::share(&mut claims, Possible { new: 550_000, kept });
            claims[0].1.layers()
        };
        assert_eq!(grant(layers(2, 0), 600_000), Some(layers(2, 0)));
        assert_eq!(grant(layers(2, 0), 599_000), Some(layers(1, 2)));
        assert_eq!(grant(layers(1, 2), 600_000), Some(layers(1, 2)));
    }

    #[test]
    fn falling_further_does_not_shorten_the_pause_after_failing() {
        let mut restraint = Restraint::default();
        let mut pauses = Vec::new();
        let mut now = 0;
        for _ in 0..5 {
            restraint.moved(Some(layers(1, 2)), Some(layers(2, 0)), now);
            // At once, and a moment later once more.
            restraint.moved(Some(layers(2, 0)), Some(layers(1, 2)), now + 1_000_000);
            restraint.moved(Some(layers(1, 2)), Some(layers(1, 0)), now + 1_100_000);
            now += 1_100_000;
            let from = now;
            while restraint.holds(now) {
                now += 1_000_000;
            }
            pauses.push((now - from) / 1_000_000);
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        // Not because it had failed before.
        now += 100_000_000;
        restraint.moved(Some(layers(1, 2)), Some(layers(1, 0)), now);
        assert!(restraint.holds(now + 9_000_000) && !restraint.holds(now + 11_000_000));
    }

    #[test]
    fn equals_take_turns_when_others_make_claims() {
        let mut turns = Turns::default();
        let mut first = |keys: &[u8], now: u64| {
            let mut claims: Vec<_> = keys.iter().map(|key| (*key, claim(1, None))).collect();
            turns.order(&mut claims, now);
            let mut order: Vec<_> = claims.iter().map(|(key, _)| *key).collect();
            let first = order.first().copied();
            order.sort_unstable();
            assert_eq!(order, keys);
            first
        };
        assert_eq!(first(&[1, 2, 3], 0), Some(1));
        assert_eq!(first(&[1, 2, 3], 10 * TURN), Some(1), "as long as nothing changes");
        assert_eq!(first(&[1, 2, 3, 4], 10 * TURN), Some(2));
        assert_eq!(first(&[0, 1, 2, 3, 4], 10 * TURN + 1), Some(2), "not so soon");
        assert_eq!(first(&[1, 3], 10 * TURN + 2), Some(1), "one is gone");
        assert_eq!(first(&[], 10 * TURN + 3), None);
        let turns: Vec<_> = (11..17)
            .map(|turn| first(if turn % 2 == 0 { &[1, 2, 3, 4] } else { &[1, 2, 3] }, turn * TURN))
            .collect();
        assert_eq!(turns, [1, 2, 3, 4, 1, 2].map(Some));
    }

    #[test]
    fn an_estimate_that_swings_moves_layers_rarely() {
        let mut restraint = Restraint::default();
        let mut target = None;
        let mut moves = 0;
        for step in 0..600_u64 {
            let now = step * 100_000;
            // Between 0.85 and 1.15 of what the best layers take.
            let available = 1_500_000 + (step % 30) as u32 * 15_000 - 225_000;
            let claim = Claim {
                held: restraint.holds(now),
                ..claim(1, target)
            };
            let mut claims = [((), claim)];
            share(&mut claims, available);
            let granted = claims[0].1.layers();
            if granted != target {
                moves += 1;
                restraint.moved(target, granted, now);
                target = granted;
            }
        }
        // Up and down again, after 10, 20 and 40 s.
        assert!(moves <= 8, "{moves}");
    }
}
