//! What the consumers of a transport claim of its bandwidth, and what they get.

use channel_proto::rtp_parameters::MediaKind;
use smallvec::SmallVec;

use super::allocation::{Claim, Offer, Possible, ladder, next, share};
use super::layers::{Layers, Retargeted};
use super::{Consumer, Policy, facts};
use crate::bwe::outgoing::Demand;
use crate::engine::Context;
use crate::engine::decisions::{What, Why};
use crate::engine::keys::{ConsumerKey, TransportKey};
use crate::engine::producer::Producer;
use crate::engine::router::Router;

impl Consumer {
    /// Bits per second that it would like to send, whatever is possible: of layers, at most those preferred.
    fn desired(&self, claim: Option<&Claim>, producer: &mut Producer, now: u64) -> u32 {
        let offered = match claim {
            Some(claim) => claim.ladder.iter().map(|step| step.rate).max().unwrap_or_default(),
            None => self.fixed_rate(producer, now),
        };
        let encoding = self.parameters().encodings.first();
        offered.max(encoding.and_then(|encoding| encoding.max_bitrate).unwrap_or_default())
    }

    /// What it sends if it has no choice.
    fn fixed_rate(&self, producer: &mut Producer, now: u64) -> u32 {
        let stream = self.encoding_of(0).and_then(|encoding| producer.stream_mut(encoding));
        stream.map_or(0, |stream| stream.bitrate(now))
    }

    /// What it claims; None if it has no choice.
    fn claim(&self, producer: &mut Producer, now: u64) -> Option<Claim> {
        let (preferred, target, offers) = match &self.policy {
            Policy::Simulcast(simulcast) => {
                let switchable = |producer: &Producer, spatial: u8| {
                    simulcast.can_switch_to(spatial, &|spatial| facts(producer, &self.encodings, spatial))
                };
                let offers = self.offers_of_streams(producer, simulcast.temporal_layers(), switchable, now);
                (simulcast.preferred(), simulcast.target(), offers)
            }
            Policy::Svc(svc) => {
                let offers = self.offers_of_layers(producer, svc.layer_counts(), svc.is_k_svc(), now);
                (svc.preferred(), svc.target(), offers)
            }
            Policy::Simple(_) | Policy::Pipe(_) => return None,
        };
        Some(Claim {
            ladder: ladder(&offers, preferred, now),
            priority: self.priority,
            target,
            held: self.restraint.holds(now),
            fresh: self.restraint.is_fresh(now),
            granted: None,
        })
    }

    /// Each spatial layer is a stream of its own.
    fn offers_of_streams(
        &self,
        producer: &mut Producer,
        temporal_layers: u8,
        switchable: impl Fn(&Producer, u8) -> bool,
        now: u64,
    ) -> SmallVec<[Offer; 4]> {
        let offers = (0..self.encodings.len().min(u8::MAX.into())).map(|index| {
            let spatial = index as u8;
            let usable = facts(producer, &self.encodings, spatial).is_some_and(|stream| stream.score > 0)
                && switchable(producer, spatial);
            let stream = self
                .encoding_of(index)
                .and_then(|encoding| producer.stream_mut(encoding));
            let Some(stream) = stream.filter(|_| usable) else {
                return Offer::default();
            };
            let mut sum = 0_u32;
            let rates = (0..temporal_layers.max(1)).map(|temporal| {
                sum = sum.saturating_add(stream.layer_bitrate(0, temporal, now));
                sum
            });
            Offer {
                usable,
                rates: rates.collect(),
                since: stream.active_since(),
            }
        });
        offers.collect()
    }

    /// All spatial layers are in one stream, and need those below, if not only of key frames (`k_svc`).
    fn offers_of_layers(
        &self,
        producer: &mut Producer,
        (spatial_layers, temporal_layers): (u8, u8),
        k_svc: bool,
        now: u64,
    ) -> SmallVec<[Offer; 4]> {
        let Some(stream) = self.encoding_of(0).and_then(|encoding| producer.stream_mut(encoding)) else {
            return SmallVec::new();
        };
        let carried = stream.active_spatial_layers(now);
        let alive = stream.score() > 0;
        let mut below: SmallVec<[u32; 4]> = (0..temporal_layers.max(1)).map(|_| 0).collect();
        let offers = (0..spatial_layers.min(128)).map(|spatial| {
            // Nothing has come for a while, but its score tells that it is not silent: all may come.
            let usable = alive && (carried == 0 || carried & (1 << spatial) != 0);
            let mut sum = 0_u32;
            let rates: SmallVec<[u32; 4]> = (0..)
                .zip(below.iter().copied())
                .map(|(temporal, below)| {
                    sum = sum.saturating_add(stream.layer_bitrate(spatial, temporal, now));
                    if k_svc { sum } else { sum.saturating_add(below) }
                })
                .collect();
            below.clone_from(&rates);
            Offer {
                usable,
                since: 0,
                rates,
            }
        });
        offers.collect()
    }

    /// Aims at the layers that it got; None if these are those it aims at. `limited`: it would have liked more.
    fn take_share(
        &mut self,
        target: Option<Layers>,
        limited: bool,
        force: bool,
        producer: &Producer,
        why: Why,
        now: u64,
    ) -> Option<Retargeted> {
        let before = match &self.policy {
            Policy::Simulcast(simulcast) => simulcast.target(),
            Policy::Svc(svc) => svc.target(),
            Policy::Simple(_) | Policy::Pipe(_) => return None,
        };
        if target == before && (!force || target.is_none()) {
            return None;
        }
        if limited || target > before {
            self.restraint.moved(before, target, now);
        }
        let retargeted = match &mut self.policy {
            Policy::Simulcast(simulcast) => simulcast.retarget(target),
            Policy::Svc(svc) => svc.retarget(target),
            Policy::Simple(_) | Policy::Pipe(_) => return None,
        };
        self.note(What::Target, why, Some(producer), now);
        Some(retargeted)
    }
}

/// What makes layers of a transport be chosen anew.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    /// Why.
    pub why: Why,
    /// The consumer that it concerns, which acts even if its layers stay.
    pub forced: Option<ConsumerKey>,
    /// SSRC of the stream whose key frame is being processed.
    pub key_frame: Option<u32>,
    /// Whether a consumer stopped: what is desired falls at once.
    pub stopped: bool,
}

impl Cause {
    /// Something that concerns all consumers.
    pub fn of(why: Why) -> Self {
        Self {
            why,
            forced: None,
            key_frame: None,
            stopped: false,
        }
    }

    /// A consumer stopped: the others may get what it had.
    pub fn stopped() -> Self {
        Self {
            stopped: true,
            ..Self::of(Why::Bandwidth)
        }
    }
}

impl Router {
    /// Shares the bandwidth of a transport among its consumers, if it is estimated. Audio is not counted: it always goes
    /// out, and the estimate, which is one of video, is what is left beside it. So does video without layers.
    pub fn allocate_layers(&mut self, key: TransportKey, cause: &Cause, context: &mut Context<'_>) {
        let now = context.now;
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(outgoing) = transport.outgoing.as_deref_mut() else {
            return;
        };
        let (mut desired, mut fixed) = (0_u32, 0_u32);
        let mut claims: SmallVec<[(ConsumerKey, Claim); 4]> = SmallVec::new();
        for consumer_key in transport.consumers.values() {
            let Some(consumer) = self.consumers.get(*consumer_key) else {
                continue;
            };
            if !consumer.active || consumer.kind() != MediaKind::Video || consumer.is_pipe() {
                continue;
            }
            let Some(producer) = self.producers.get_mut(consumer.producer) else {
                continue;
            };
            let claim = consumer.claim(producer, now);
            desired = desired.saturating_add(consumer.desired(claim.as_ref(), producer, now));
            match claim {
                Some(claim) => claims.push((*consumer_key, claim)),
                None => fixed = fixed.saturating_add(consumer.fixed_rate(producer, now)),
            }
        }
        transport.turns.order(&mut claims, now);
        let possible = Possible {
            new: outgoing.available_bitrate().saturating_sub(fixed),
            kept: outgoing.keepable_bitrate().saturating_sub(fixed),
        };
        let used = share(&mut claims, possible);
        let demand = Demand {
            desired,
            allocated: used.saturating_add(fixed),
            next: next(&claims, used).map(|next| next.saturating_add(fixed)),
        };
        outgoing.set_demand(&demand, cause.stopped, now);
        let mut changed = false;
        for (consumer_key, claim) in claims {
            changed |= self.give_share(consumer_key, &claim, cause, context);
        }
        if changed && let Some(transport) = self.transports.get_mut(key) {
            transport.note(What::Allocate, cause.why, now);
        }
        self.plan_bandwidth(key, context);
    }

    /// False: it aims at what it aimed at before.
    fn give_share(&mut self, key: ConsumerKey, claim: &Claim, cause: &Cause, context: &mut Context<'_>) -> bool {
        let Some(consumer) = self.consumers.get_mut(key) else {
            return false;
        };
        let Some(producer) = self.producers.get(consumer.producer) else {
            return false;
        };
        let limited = claim.granted.map_or(0, |index| index + 1) < claim.ladder.len();
        let force = cause.forced == Some(key);
        let Some(retargeted) = consumer.take_share(claim.layers(), limited, force, producer, cause.why, context.now)
        else {
            return false;
        };
        self.follow_choice(key, &retargeted, cause.why, cause.key_frame, context);
        true
    }
}
