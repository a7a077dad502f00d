//! How much can be sent as far as losses tell.
//!
//! Losses are taken to be of two kinds: those of a path that loses some packets whatever is sent (p), and those of a
//! path that passes no more than a limit (B). Of several candidates for B, each with its best p, the one is chosen
//! under which the losses of the last seconds are most likely. So random losses do not lower the rate, while those of
//! a full queue or of a policer do.

use std::collections::VecDeque;

use super::estimator::Outcome;

/// Least duration of an observation in microseconds, and observations that are looked at.
const OBSERVATION: u64 = 250_000;
const OBSERVATIONS: usize = 15;
/// Weight of an observation to that of the next one.
const AGING: f64 = 0.9;
/// Candidates, as shares of the present limit.
const CANDIDATES: [f64; 3] = [1.02, 1.0, 0.95];
/// Losses of the path itself: first, least, and most: the latter is higher for low limits, in bits per second.
const FIRST_INHERENT: f64 = 0.01;
const LEAST_INHERENT: f64 = 1e-3;
const MOST_INHERENT: f64 = 0.08;
const INHERENT_BALANCE: f64 = 100_000.0;
/// Share of a step of Newton's method that is taken.
const STEP: f64 = 0.75;
/// Higher limits are preferred, all else being equal: per kbit/s, and per logarithm of them. Not if as much is lost.
const PREFERENCE: (f64, f64) = (0.0002, 0.02);
const NO_PREFERENCE: f64 = 0.15;
const PREFERENCE_SLOPE: f64 = 0.002;
/// Growth of the limit within `GROWTH_WINDOW` microseconds, and beyond what arrives.
const GROWTH: f64 = 1.3;
const GROWTH_WINDOW: u64 = 300_000;
const RAMP_UP: (f64, f64) = (1.5, 1.2);
/// After a reduction growth is slow for so long; the time doubles with each, in microseconds.
const HOLD: (u64, u64) = (300_000, 60_000_000);
/// Losses beyond those of the path that do not keep the limit from growing: one packet of a burst.
const TOLERANCE: f64 = 0.01;
/// Losses beyond this limit the rate at once, to that many bits per second for a loss of 1 more.
const HEAVY_LOSS: f64 = 0.08;
const HEAVY_BALANCE: f64 = 100_000.0;

/// Standard deviations by which chance may have added to losses before they count as heavy.
const DOUBT: f64 = 2.0;

#[derive(Debug, Clone, Copy)]
struct Observation {
    packets: f64,
    lost: f64,
    /// Bits per second.
    rate: f64,
}

/// Packets of which it is told, until they make up an observation.
#[derive(Debug, Default)]
struct Partial {
    packets: u32,
    lost: u32,
    bytes: u64,
    first_sent: Option<u64>,
    last_sent: u64,
}

/// A limit, and the share of packets that are lost below it.
#[derive(Debug, Clone, Copy)]
struct Channel {
    limit: f64,
    inherent: f64,
}

impl Channel {
    fn bounded(limit: f64, inherent: f64) -> Self {
        let most = MOST_INHERENT + INHERENT_BALANCE / limit.max(1.0);
        Self {
            limit,
            inherent: inherent.clamp(LEAST_INHERENT, most.clamp(LEAST_INHERENT, 1.0)),
        }
    }

    /// Share of packets lost at a rate.
    fn loss(&self, rate: f64) -> f64 {
        let excess = if rate > self.limit {
            (rate - self.limit) / rate
        } else {
            0.0
        };
        (self.inherent + (1.0 - self.inherent) * excess).clamp(1e-6, 1.0 - 1e-6)
    }
}

/// Estimates the limit.
#[derive(Debug)]
pub struct LossLimit {
    partial: Partial,
    observations: VecDeque<Observation>,
    channel: Option<Channel>,
    limiting: bool,
    reduced_at: Option<u64>,
    window: Option<(u64, f64)>,
    hold: u64,
    held_until: u64,
}

impl LossLimit {
    /// Nothing has been lost.
    pub fn new() -> Self {
        Self {
            partial: Partial::default(),
            observations: VecDeque::new(),
            channel: None,
            limiting: false,
            reduced_at: None,
            window: None,
            hold: HOLD.0,
            held_until: 0,
        }
    }

    /// Whether losses allow less than delays do.
    pub fn is_limiting(&self) -> bool {
        self.limiting
    }

    /// A probe passed at this rate: the limit is not below.
    pub fn passed(&mut self, rate: f64) {
        let few = self.mean_loss() < NO_PREFERENCE;
        if let Some(channel) = self.channel.as_mut().filter(|channel| few && channel.limit < rate) {
            channel.limit = rate;
        }
    }

    /// Takes a report; `delay_based` is what delays allow, `acknowledged` what arrives. Returns what losses allow.
    pub fn update(&mut self, outcomes: &[Outcome], delay_based: f64, acknowledged: Option<f64>, now: u64) -> f64 {
        for outcome in outcomes {
            if outcome.late {
                self.partial.lost = self.partial.lost.saturating_sub(1);
                continue;
            }
            self.partial.packets += 1;
            self.partial.lost += u32::from(outcome.arrived_at.is_none());
            self.partial.bytes += u64::from(outcome.size);
            let first = self.partial.first_sent.unwrap_or(u64::MAX);
            self.partial.first_sent = Some(first.min(outcome.sent_at));
            self.partial.last_sent = self.partial.last_sent.max(outcome.sent_at);
        }
        let observed = self.observe();
        let channel = *self
            .channel
            .get_or_insert(Channel::bounded(delay_based, FIRST_INHERENT));
        if !observed && self.limiting {
            return channel.limit.min(delay_based);
        }
        if !observed || self.observations.is_empty() {
            return delay_based;
        }
        self.choose(channel, delay_based, acknowledged, now)
    }

    /// Completes an observation if there is enough of it.
    fn observe(&mut self) -> bool {
        let Some(first) = self.partial.first_sent else {
            return false;
        };
        let duration = self.partial.last_sent.saturating_sub(first);
        if duration < OBSERVATION {
            return false;
        }
        let partial = std::mem::take(&mut self.partial);
        if self.observations.len() == OBSERVATIONS {
            self.observations.pop_front();
        }
        self.observations.push_back(Observation {
            packets: partial.packets.into(),
            lost: partial.lost.into(),
            rate: partial.bytes as f64 * 8e6 / duration as f64,
        });
        true
    }

    /// Observations with their weights, newest first.
    fn weighted(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * AGING));
        weights.zip(self.observations.iter().rev())
    }

    fn mean_loss(&self) -> f64 {
        let (lost, packets) = self.weighted().fold((0.0, 0.0), |sum, (weight, observation)| {
            (sum.0 + weight * observation.lost, sum.1 + weight * observation.packets)
        });
        if packets > 0.0 { lost / packets } else { 0.0 }
    }

    /// The share that is lost at least, rather surely: of few packets, chance may have taken more than that.
    fn least_loss(&self) -> f64 {
        let mean = self.mean_loss();
        let (packets, squares) = self.weighted().fold((0.0, 0.0), |sum, (weight, observation)| {
            let packets = weight * observation.packets;
            (sum.0 + packets, sum.1 + weight * packets)
        });
        if packets == 0.0 {
            return mean;
        }
        // As many packets of equal weight would vary as much.
        let packets = packets * packets / squares;
        (mean - DOUBT * (mean * (1.0 - mean) / packets).sqrt()).max(0.0)
    }

    fn likelihood(&self, channel: &Channel, preference: f64) -> f64 {
        let kbits = channel.limit / 1000.0;
        let bias = preference * (PREFERENCE.0 * kbits + PREFERENCE.1 * kbits.ln_1p());
        let likely = self.weighted().map(|(weight, observation)| {
            let loss = channel.loss(observation.rate);
            let arrived = observation.packets - observation.lost;
            weight * (observation.lost * loss.ln() + arrived * (1.0 - loss).ln() + bias * observation.packets)
        });
        likely.sum()
    }

    /// A step towards the losses of the path under which what was observed is most likely.
    fn fit(&self, channel: Channel) -> Channel {
        let (first, second) = self.weighted().fold((0.0, 0.0), |sum, (weight, observation)| {
            let loss = channel.loss(observation.rate);
            let arrived = observation.packets - observation.lost;
            (
                sum.0 + weight * (observation.lost / loss - arrived / (1.0 - loss)),
                sum.1 - weight * (observation.lost / (loss * loss) + arrived / ((1.0 - loss) * (1.0 - loss))),
            )
        });
        if second >= 0.0 {
            return channel;
        }
        Channel::bounded(channel.limit, channel.inherent - STEP * first / second)
    }

    fn choose(&mut self, present: Channel, delay_based: f64, acknowledged: Option<f64>, now: u64) -> f64 {
        let mean_loss = self.mean_loss();
        let least_loss = self.least_loss();
        let away = NO_PREFERENCE - least_loss;
        let preference = away / (PREFERENCE_SLOPE + away.abs());
        let most = match acknowledged {
            Some(acknowledged) if self.limiting => {
                let factor = if now < self.held_until { RAMP_UP.1 } else { RAMP_UP.0 };
                (factor * acknowledged).max(present.limit)
            }
            _ => f64::INFINITY,
        };
        let limits = CANDIDATES.map(|share| Some(share * present.limit));
        let others = [acknowledged, (delay_based > present.limit).then_some(delay_based)];
        let candidates = limits.into_iter().chain(others).flatten();
        let scored = candidates.map(|limit| {
            let channel = self.fit(Channel::bounded(limit.min(most).max(1.0), present.inherent));
            (self.likelihood(&channel, preference), channel)
        });
        let best = scored.fold(None, |best: Option<(f64, Channel)>, scored| match best {
            Some(best) if best.0 >= scored.0 => Some(best),
            _ => Some(scored),
        });
        let mut best = best.map_or(present, |(_, channel)| channel);
        if best.limit < present.limit {
            self.reduced_at = Some(now);
        } else if best.limit > present.limit {
            // More is lost than the path loses by itself: this is no time to grow.
            if mean_loss > best.inherent + TOLERANCE {
                best.limit = present.limit;
            }
            best.limit = best.limit.min(self.growth_limit(present.limit, now));
        }
        if least_loss > HEAVY_LOSS {
            best.limit = best.limit.min(HEAVY_BALANCE / (least_loss - HEAVY_LOSS));
        }
        self.settle(best, present, delay_based, now)
    }

    /// Within a window the limit grows by a factor at most.
    fn growth_limit(&mut self, present: f64, now: u64) -> f64 {
        if !self.limiting {
            return f64::INFINITY;
        }
        match self.window {
            Some((start, limit)) if now.saturating_sub(start) < GROWTH_WINDOW => limit,
            _ => {
                let limit = GROWTH * present;
                self.window = Some((now, limit));
                limit
            }
        }
    }

    fn settle(&mut self, best: Channel, present: Channel, delay_based: f64, now: u64) -> f64 {
        let limiting = best.limit < delay_based;
        if limiting && best.limit < present.limit && now >= self.held_until {
            self.held_until = now + self.hold;
            self.hold = (2 * self.hold).min(HOLD.1);
        }
        if !limiting {
            self.hold = HOLD.0;
        }
        self.limiting = limiting;
        self.channel = Some(Channel {
            limit: best.limit.min(delay_based),
            ..best
        });
        best.limit.min(delay_based)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Sends 50 packets of 1200 bytes in each of these tenths of a second, of which every n-th is lost.
    fn run(limit: &mut LossLimit, rounds: u64, every: usize, start: u64) -> f64 {
        let mut allowed = 0.0;
        for round in start..start + rounds {
            let outcomes: Vec<_> = (0..50_u64)
                .map(|index| Outcome {
                    sent_at: round * 100_000 + index * 2000,
                    late: false,
                    arrived_at: (!(index as usize + round as usize).is_multiple_of(every)).then_some(1),
                    size: 1200,
                    cluster: None,
                })
                .collect();
            let delivered = 4_800_000.0 * (1.0 - 1.0 / every as f64);
            allowed = limit.update(&outcomes, 5_000_000.0, Some(delivered), round * 100_000);
        }
        allowed
    }

    #[test]
    fn random_losses_are_tolerated_and_heavy_ones_are_not() {
        let mut limit = LossLimit::new();
        let few = run(&mut limit, 200, 50, 0);
        assert!(few > 4_500_000.0, "{few}");
        let some = run(&mut limit, 200, 20, 200);
        assert!(some > 3_500_000.0, "{some}");
        let many = run(&mut limit, 200, 4, 400);
        assert!(many < 1_500_000.0, "{many}");
        assert!(limit.is_limiting());
        let recovered = run(&mut limit, 300, 10_000, 600);
        assert!(recovered > 4_500_000.0, "{recovered}");
        assert!(!limit.is_limiting());
    }

    #[test]
    fn nothing_breaks_it() {
        let mut limit = LossLimit::new();
        for round in 0..2000_u64 {
            let lost = round % 7 < 3;
            let outcome = Outcome {
                sent_at: (round * 7919) % 100_000_000,
                arrived_at: (!lost).then_some(0),
                late: round % 5 == 0,
                size: (round % 1500) as u32,
                cluster: None,
            };
            let acknowledged = (round % 3 == 0).then_some((round % 100) as f64);
            let allowed = limit.update(&[outcome; 3], 30_000.0 + round as f64, acknowledged, round * 50_000);
            assert!(allowed.is_finite() && allowed >= 0.0, "{allowed}");
        }
    }

    /// Few packets lose a share that varies: 10 % at 40 packets a second look like 15 % now and then, for seconds.
    #[test]
    fn chance_does_not_look_like_a_limit() {
        for (rate, seed) in [150_000.0, 450_000.0, 1_500_000.0]
            .into_iter()
            .flat_map(|rate| (0..20).map(move |seed| (rate, seed)))
        {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut limit = LossLimit::new();
            let packets = (rate / 20.0 / 8000.0_f64).round() as u64;
            for frame in 0..1200_u64 {
                let outcomes: Vec<_> = (0..packets)
                    .map(|index| Outcome {
                        sent_at: frame * 50_000 + index * 10,
                        late: false,
                        arrived_at: rng.random_bool(0.9).then_some(1),
                        size: 1000,
                        cluster: None,
                    })
                    .collect();
                let allowed = limit.update(&outcomes, 10_000_000.0, Some(0.9 * rate), frame * 50_000);
                assert!(
                    allowed > 1.2 * rate,
                    "seed {seed}: {allowed} of {rate} after {frame} frames"
                );
            }
        }
    }
}
