//! RTP observers: they hear the audio producers of a router and tell who is loud or who speaks.

mod active_speaker;
mod audio_level;
mod commands;
#[cfg(test)]
mod tests;

use channel_proto::event::{DominantSpeaker, Event};
use slotmap::SlotMap;

use super::Context;
use super::keys::{ObserverKey, ProducerKey, RouterKey};
use super::producer::Producer;
use super::timers::Wake;
use active_speaker::ActiveSpeakerObserver;
use audio_level::AudioLevelObserver;

/// What an observer looks for.
#[derive(Debug)]
enum Kind {
    AudioLevel(AudioLevelObserver),
    ActiveSpeaker(ActiveSpeakerObserver),
}

/// An observer of audio producers.
#[derive(Debug)]
pub struct RtpObserver {
    /// Id given by the parent.
    pub id: String,
    kind: Kind,
    /// Microseconds between evaluations.
    interval: u64,
    /// When it will evaluate next; nothing while paused.
    next: Option<u64>,
}

impl RtpObserver {
    /// Stops or goes on, with a full interval.
    fn set_paused(&mut self, paused: bool, router: RouterKey, key: ObserverKey, context: &mut Context<'_>) {
        match (paused, self.next) {
            (true, Some(_)) => {
                self.next = None;
                if let Kind::AudioLevel(levels) = &mut self.kind
                    && let Some(event) = levels.pause()
                {
                    context.outbox.notify(&self.id, event);
                }
            }
            (false, None) => self.plan(context.now + self.interval, router, key, context),
            _ => {}
        }
    }

    fn plan(&mut self, at: u64, router: RouterKey, key: ObserverKey, context: &mut Context<'_>) {
        self.next = Some(at);
        context.timers.wake_at(at, Wake::Observer(router, key));
    }

    /// Listens to a producer; tells whether that is allowed.
    fn add(&mut self, producer: ProducerKey, paused: bool, now: u64) -> bool {
        match &mut self.kind {
            Kind::AudioLevel(levels) => {
                levels.add(producer);
                true
            }
            Kind::ActiveSpeaker(speakers) => speakers.add(producer, paused, now),
        }
    }

    /// Forgets a producer.
    pub fn remove(
        &mut self,
        producer: ProducerKey,
        producers: &SlotMap<ProducerKey, Producer>,
        context: &mut Context<'_>,
    ) {
        match &mut self.kind {
            Kind::AudioLevel(levels) => levels.remove(producer),
            Kind::ActiveSpeaker(speakers) => {
                let dominant = speakers.remove(producer);
                self.tell_dominant(dominant, producers, context);
            }
        }
    }

    /// A producer was paused or resumed.
    pub fn set_producer_paused(&mut self, producer: ProducerKey, paused: bool) {
        match &mut self.kind {
            Kind::AudioLevel(levels) => levels.restart(producer),
            Kind::ActiveSpeaker(speakers) => speakers.set_producer_paused(producer, paused),
        }
    }

    /// Takes the level of a packet: 0 (loudest) to 127 (silence).
    pub fn level(&mut self, producer: ProducerKey, level: u8, now: u64) {
        if self.next.is_none() {
            return;
        }
        match &mut self.kind {
            Kind::AudioLevel(levels) => levels.level(producer, level),
            Kind::ActiveSpeaker(speakers) => speakers.level(producer, level, now),
        }
    }

    /// Evaluates if the interval is over.
    pub fn on_timeout(
        &mut self,
        router: RouterKey,
        key: ObserverKey,
        producers: &SlotMap<ProducerKey, Producer>,
        context: &mut Context<'_>,
    ) {
        // A wake-up may be left over from before a pause.
        let now = context.now;
        let Some(due) = self.next.filter(|at| *at <= now) else {
            return;
        };
        match &mut self.kind {
            Kind::AudioLevel(levels) => {
                if let Some(event) = levels.end_interval(producers) {
                    context.outbox.notify(&self.id, event);
                }
            }
            Kind::ActiveSpeaker(speakers) => {
                let dominant = speakers.end_interval(now);
                self.tell_dominant(dominant, producers, context);
            }
        }
        // In step with the first interval, but no two evaluations at once after a long stall.
        let on_time = due + self.interval;
        let next = if on_time > now { on_time } else { now + self.interval };
        self.plan(next, router, key, context);
    }

    fn tell_dominant(
        &self,
        dominant: Option<ProducerKey>,
        producers: &SlotMap<ProducerKey, Producer>,
        context: &mut Context<'_>,
    ) {
        if let Some(producer) = dominant.and_then(|key| producers.get(key)) {
            let producer_id = producer.id.clone();
            context
                .outbox
                .notify(&self.id, Event::DominantSpeaker(DominantSpeaker { producer_id }));
        }
    }
}
