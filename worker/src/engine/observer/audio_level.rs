//! Tells which of several producers are loud.
//!
//! Over each interval the levels of every producer (RFC 6464: 0 is loudest, 127 is silence) are averaged.

use channel_proto::command::CreateAudioLevelObserver;
use channel_proto::event::{Event, Volume};
use slotmap::SlotMap;

use crate::engine::keys::ProducerKey;
use crate::engine::producer::Producer;

/// Packets of an interval below which a producer is not judged.
const MIN_SAMPLES: u32 = 10;

/// Average levels of producers, told at the end of each interval.
#[derive(Debug)]
pub struct AudioLevelObserver {
    max_entries: usize,
    /// dBov, −127 to 0.
    threshold: i8,
    silent: bool,
    levels: Vec<Levels>,
}

/// What one producer sent within the interval at hand.
#[derive(Debug)]
struct Levels {
    producer: ProducerKey,
    sum: u32,
    count: u32,
}

impl Levels {
    /// Their average in whole dBov, the louder one, if there are enough.
    fn volume(&self) -> Option<i8> {
        let average = (self.count >= MIN_SAMPLES).then(|| self.sum / self.count)?;
        i8::try_from(average).ok().map(|average| -average)
    }
}

impl AudioLevelObserver {
    /// An observer of nobody, silent.
    pub fn new(options: &CreateAudioLevelObserver) -> Self {
        Self {
            max_entries: usize::from(options.max_entries),
            threshold: options.threshold,
            silent: true,
            levels: Vec::new(),
        }
    }

    /// Listens to a producer.
    pub fn add(&mut self, producer: ProducerKey) {
        if self.levels.iter().all(|levels| levels.producer != producer) {
            self.levels.push(Levels {
                producer,
                sum: 0,
                count: 0,
            });
        }
    }

    /// Forgets a producer.
    pub fn remove(&mut self, producer: ProducerKey) {
        self.levels.retain(|levels| levels.producer != producer);
    }

    /// A producer was paused or resumed: what was collected of it is void.
    pub fn restart(&mut self, producer: ProducerKey) {
        if let Some(levels) = self.levels.iter_mut().find(|levels| levels.producer == producer) {
            (levels.sum, levels.count) = (0, 0);
        }
    }

    /// Takes the level of a packet.
    pub fn level(&mut self, producer: ProducerKey, level: u8) {
        if let Some(levels) = self.levels.iter_mut().find(|levels| levels.producer == producer) {
            levels.sum = levels.sum.saturating_add(u32::from(level));
            levels.count = levels.count.saturating_add(1);
        }
    }

    /// The observer is paused: what was collected is void, and nobody is loud any more.
    pub fn pause(&mut self) -> Option<Event> {
        self.reset();
        let was_silent = std::mem::replace(&mut self.silent, true);
        (!was_silent).then_some(Event::Silence)
    }

    /// Who was loud enough so far, in the order in which they were added, in dBov.
    pub(super) fn loud(&self) -> Vec<(ProducerKey, i8)> {
        let levels = self.levels.iter();
        let volumes = levels.filter_map(|levels| Some((levels.producer, levels.volume()?)));
        volumes.filter(|(_, volume)| *volume >= self.threshold).collect()
    }

    /// Ends an interval.
    pub fn end_interval(&mut self, producers: &SlotMap<ProducerKey, Producer>) -> Option<Event> {
        let loud = self.loud().into_iter().filter_map(|(producer, volume)| {
            let producer_id = producers.get(producer)?.id.clone();
            Some(Volume { producer_id, volume })
        });
        let mut volumes: Vec<_> = loud.collect();
        self.reset();
        if volumes.is_empty() {
            let was_silent = std::mem::replace(&mut self.silent, true);
            return (!was_silent).then_some(Event::Silence);
        }
        // Stable: of equals, the one that was added first.
        volumes.sort_by_key(|entry| std::cmp::Reverse(entry.volume));
        volumes.truncate(self.max_entries);
        self.silent = false;
        Some(Event::Volumes(volumes))
    }

    fn reset(&mut self) {
        for levels in &mut self.levels {
            (levels.sum, levels.count) = (0, 0);
        }
    }
}
