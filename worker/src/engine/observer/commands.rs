//! Commands that create and steer observers.

use channel_proto::command::{Arguments, Command, ObservedProducer, Target};
use channel_proto::reply::{Failure, Reply};
use channel_proto::rtp_parameters::MediaKind;

use super::active_speaker::ActiveSpeakerObserver;
use super::audio_level::AudioLevelObserver;
use super::{Kind, RtpObserver};
use crate::engine::keys::{ObserverKey, ProducerKey};
use crate::engine::router::Router;
use crate::engine::{Context, required, unknown_method};

/// Milliseconds between evaluations of an audio level observer.
const AUDIO_LEVEL_INTERVAL: std::ops::RangeInclusive<u16> = 250..=5000;
/// Milliseconds between evaluations of an active speaker observer.
const ACTIVE_SPEAKER_INTERVAL: std::ops::RangeInclusive<u16> = 100..=5000;

/// Milliseconds within a range, as microseconds.
fn clamped(interval: u16, range: &std::ops::RangeInclusive<u16>) -> u64 {
    u64::from(interval.clamp(*range.start(), *range.end())) * 1000
}

impl Router {
    /// Carries out the commands that concern observers.
    pub(in crate::engine) fn execute_on_observer(
        &mut self,
        target: &Target,
        command: Command,
        context: &mut Context<'_>,
    ) -> Result<Reply, Failure> {
        let id = required(target.rtp_observer_id.as_deref(), "rtpObserverId")?;
        let known = self.observer_ids.get(id).copied();
        let created = match command {
            Command::RouterCreateAudioLevelObserver(_) | Command::RouterCreateActiveSpeakerObserver(_)
                if known.is_some() =>
            {
                let reason = "an RtpObserver with same rtpObserverId already exists";
                return Err(Failure::error(reason));
            }
            Command::RouterCreateAudioLevelObserver(options) => {
                let options = options?;
                let kind = Kind::AudioLevel(AudioLevelObserver::new(&options));
                (kind, clamped(options.interval, &AUDIO_LEVEL_INTERVAL))
            }
            Command::RouterCreateActiveSpeakerObserver(options) => {
                let kind = Kind::ActiveSpeaker(ActiveSpeakerObserver::default());
                (kind, clamped(options?.interval, &ACTIVE_SPEAKER_INTERVAL))
            }
            command => {
                let key = known.ok_or_else(|| Failure::error("RtpObserver not found"))?;
                self.steer_observer(key, command, context)?;
                return Ok(Reply::None);
            }
        };
        let (kind, interval) = created;
        let key = self.observers.insert(RtpObserver {
            id: id.to_owned(),
            kind,
            interval,
            next: None,
        });
        self.observer_ids.insert(id.to_owned(), key);
        if let Some(observer) = self.observers.get_mut(key) {
            observer.set_paused(false, self.key, key, context);
        }
        Ok(Reply::None)
    }

    fn steer_observer(&mut self, key: ObserverKey, command: Command, context: &mut Context<'_>) -> Result<(), Failure> {
        let producer = match command {
            Command::RtpObserverAddProducer(ref arguments) | Command::RtpObserverRemoveProducer(ref arguments) => {
                Some(self.observed(arguments.clone())?)
            }
            _ => None,
        };
        let Some(observer) = self.observers.get_mut(key) else {
            return Err(Failure::error("RtpObserver not found"));
        };
        match (command, producer) {
            (Command::RtpObserverPause, _) => observer.set_paused(true, self.key, key, context),
            (Command::RtpObserverResume, _) => observer.set_paused(false, self.key, key, context),
            (Command::RtpObserverAddProducer(_), Some(producer_key)) => {
                let Some(producer) = self.producers.get_mut(producer_key) else {
                    return Err(Failure::error("Producer not found"));
                };
                if producer.kind != MediaKind::Audio {
                    return Err(Failure::type_error("not an audio Producer"));
                }
                if !observer.add(producer_key, producer.paused, context.now) {
                    return Err(Failure::error("Producer already in map"));
                }
                if !producer.observers.contains(&key) {
                    producer.observers.push(key);
                }
            }
            (Command::RtpObserverRemoveProducer(_), Some(producer_key)) => {
                if let Some(producer) = self.producers.get_mut(producer_key) {
                    producer.observers.retain(|other| *other != key);
                }
                observer.remove(producer_key, &self.producers, context);
            }
            (Command::RtpObserverClose, _) => {
                if let Some(observer) = self.observers.remove(key) {
                    self.observer_ids.remove(&observer.id);
                }
                for producer in self.producers.values_mut() {
                    producer.observers.retain(|other| *other != key);
                }
            }
            (command, _) => {
                return Err(unknown_method(command.method()));
            }
        }
        Ok(())
    }

    fn observed(&self, arguments: Arguments<ObservedProducer>) -> Result<ProducerKey, Failure> {
        let id = arguments?.producer_id;
        let id = id.ok_or_else(|| Failure::error("missing data.producerId"))?;
        let key = self.producer_ids.get(&id).copied();
        key.ok_or_else(|| Failure::error("Producer not found"))
    }

    /// The producer is paused or resumed.
    pub(in crate::engine) fn observe_producer_paused(&mut self, key: ProducerKey, paused: bool) {
        let Some(producer) = self.producers.get(key) else {
            return;
        };
        for observer in &producer.observers {
            if let Some(observer) = self.observers.get_mut(*observer) {
                observer.set_producer_paused(key, paused);
            }
        }
    }

    /// Wakes an observer.
    pub(in crate::engine) fn observe(&mut self, key: ObserverKey, context: &mut Context<'_>) {
        if let Some(observer) = self.observers.get_mut(key) {
            observer.on_timeout(self.key, key, &self.producers, context);
        }
    }
}
