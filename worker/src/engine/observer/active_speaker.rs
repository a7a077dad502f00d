//! Tells who speaks, by "Dominant Speaker Identification for Multipoint Videoconferencing" (Volfin and Cohen, 2012).
//!
//! Speech is judged over three spans: the *immediate* one of a packet, the *medium* one of a word and the *long* one
//! of a sentence. For each span a score says how much likelier the activity seen in it is of a speaker than of a
//! silent participant. Another speaker takes over when all three scores outdo those of the dominant one by margins,
//! so that neither a cough nor a short interjection does.

use std::collections::VecDeque;

use crate::engine::keys::ProducerKey;

/// By how much (logarithm of a ratio of scores) a candidate must outdo the dominant speaker: immediate, medium, long.
const MARGINS: [f64; 3] = [3.0, 2.0, 0.0];
/// Parts of a span that can be active: sub-bands of a level, immediate ones of a medium, mediums of a long.
const PARTS: [usize; 3] = [13, 5, 10];
/// Rate of activity that is expected of a participant who does not speak, for each span.
const LAMBDAS: [f64; 3] = [0.78, 24.0, 47.0];
/// Levels that are kept, 20 ms each; as many immediate activities come of them.
const IMMEDIATES: usize = 50;
/// Medium activities that are kept.
const MEDIUMS: usize = IMMEDIATES / PARTS[1];
/// Largest loudness, in dB above silence.
const MAX_LOUDNESS: u8 = 127;
/// dB of one sub-band.
const SUB_BAND: u8 = MAX_LOUDNESS.div_ceil(PARTS[0] as u8);
/// Sub-bands above which an immediate activity counts for its medium.
const MEDIUM_THRESHOLD: u8 = 7;
/// Immediates above which a medium activity counts for its long.
const LONG_THRESHOLD: u8 = 4;
/// Microseconds that one level stands for.
const SAMPLE: u64 = 20_000;
/// Levels after which the floor follows the background noise: 15 s.
const FLOOR_WINDOW: u32 = 750;
/// Microseconds without packets after which a participant counts as silent.
const SILENT_AFTER: u64 = 40_000;
/// Microseconds without packets after which a participant is no longer considered: one hour.
const GONE_AFTER: u64 = 3_600_000_000;
/// Least score, so that logarithms exist.
const MIN_SCORE: f64 = 1e-10;

/// A participant and what is known of their speech.
#[derive(Debug)]
struct Speaker {
    producer: ProducerKey,
    paused: bool,
    /// Sent nothing for an hour.
    gone: bool,
    /// When a packet last came, in microseconds.
    last_packet: u64,
    /// Up to when levels are known: the last packet, or the last time that silence was found.
    last_level: u64,
    /// Loudness, newest first.
    levels: VecDeque<u8>,
    immediates: [u8; IMMEDIATES],
    mediums: [u8; MEDIUMS],
    long: u8,
    scores: [f64; 3],
    floor: Floor,
}

/// The level of the background noise.
#[derive(Debug, Default)]
struct Floor {
    /// 0 is unknown.
    level: u8,
    /// The lowest level since the floor was set last.
    candidate: Option<u8>,
    samples: u32,
}

impl Floor {
    fn update(&mut self, loudness: u8) {
        if loudness == 0 {
            return;
        }
        if self.level == 0 || loudness < self.level {
            *self = Self {
                level: loudness,
                ..Self::default()
            };
            return;
        }
        let candidate = self.candidate.map_or(loudness, |lowest| lowest.min(loudness));
        self.samples += 1;
        if self.samples < FLOOR_WINDOW {
            self.candidate = Some(candidate);
        } else {
            let mean = (f64::from(self.level) * f64::from(candidate)).sqrt();
            *self = Self {
                level: mean as u8,
                ..Self::default()
            };
        }
    }
}

/// How much likelier `active` of `parts` are of speech than of silence.
fn score(active: u8, parts: usize, lambda: f64) -> f64 {
    let active = usize::from(active).min(parts);
    let combinations = (1..=active).fold(1.0, |product, k| product * (parts - active + k) as f64 / k as f64);
    let speech = f64::ln(combinations) + parts as f64 * 0.5_f64.ln();
    let silence = lambda.ln() - lambda * active as f64;
    (speech - silence).max(MIN_SCORE)
}

impl Speaker {
    fn new(producer: ProducerKey, now: u64, paused: bool) -> Self {
        Self {
            producer,
            paused,
            gone: false,
            last_packet: now,
            last_level: now,
            levels: VecDeque::from([0; IMMEDIATES]),
            immediates: [0; IMMEDIATES],
            mediums: [0; MEDIUMS],
            long: 0,
            scores: [MIN_SCORE; 3],
            floor: Floor::default(),
        }
    }

    fn hear(&mut self, loudness: u8, now: u64) {
        // A packet stands for the time since the one before, whatever its length.
        let elapsed = now.saturating_sub(self.last_level);
        self.last_level = now;
        for _ in 0..(elapsed / SAMPLE).clamp(1, IMMEDIATES as u64) {
            self.levels.pop_back();
            self.levels.push_front(loudness);
        }
        self.floor.update(loudness);
    }

    fn judge(&mut self) {
        let audible = self.floor.level.saturating_add(SUB_BAND);
        let mut immediates = [0; IMMEDIATES];
        for (immediate, level) in immediates.iter_mut().zip(&self.levels) {
            *immediate = if *level < audible { 0 } else { *level / SUB_BAND };
        }
        if immediates == self.immediates {
            return;
        }
        self.immediates = immediates;
        self.set_score(0, immediates.first().copied().unwrap_or_default());
        let mut mediums = [0; MEDIUMS];
        for (medium, word) in mediums.iter_mut().zip(immediates.chunks(PARTS[1])) {
            *medium = word.iter().filter(|immediate| **immediate > MEDIUM_THRESHOLD).count() as u8;
        }
        if mediums == self.mediums {
            return;
        }
        self.mediums = mediums;
        self.set_score(1, mediums.first().copied().unwrap_or_default());
        let long = mediums.iter().filter(|medium| **medium > LONG_THRESHOLD).count() as u8;
        if long != self.long {
            self.long = long;
            self.set_score(2, long);
        }
    }

    fn set_score(&mut self, span: usize, active: u8) {
        if let (Some(to), Some(parts), Some(lambda)) = (self.scores.get_mut(span), PARTS.get(span), LAMBDAS.get(span)) {
            *to = score(active, *parts, *lambda);
        }
    }

    fn competes(&self) -> bool {
        !self.paused && !self.gone
    }
}

/// Finds the dominant speaker among producers.
#[derive(Debug, Default)]
pub struct ActiveSpeakerObserver {
    /// In the order in which they were added.
    speakers: Vec<Speaker>,
    dominant: Option<ProducerKey>,
    /// When silent participants were last looked for.
    last_silence_check: Option<u64>,
}

impl ActiveSpeakerObserver {
    /// Listens to a producer; tells whether it was not yet listened to.
    pub fn add(&mut self, producer: ProducerKey, paused: bool, now: u64) -> bool {
        let new = self.speakers.iter().all(|speaker| speaker.producer != producer);
        if new {
            self.speakers.push(Speaker::new(producer, now, paused));
        }
        new
    }

    /// Forgets a producer. If it was the dominant one, another may become so at once.
    pub fn remove(&mut self, producer: ProducerKey) -> Option<ProducerKey> {
        self.speakers.retain(|speaker| speaker.producer != producer);
        if self.dominant != Some(producer) {
            return None;
        }
        self.dominant = None;
        self.evaluate()
    }

    /// A producer was paused or resumed.
    pub fn set_producer_paused(&mut self, producer: ProducerKey, paused: bool) {
        if let Some(speaker) = self.speakers.iter_mut().find(|speaker| speaker.producer == producer) {
            speaker.paused = paused;
            speaker.gone &= paused;
        }
    }

    /// Takes the level of a packet: 0 (loudest) to 127.
    pub fn level(&mut self, producer: ProducerKey, level: u8, now: u64) {
        if let Some(speaker) = self.speakers.iter_mut().find(|speaker| speaker.producer == producer) {
            speaker.gone = false;
            speaker.last_packet = now;
            speaker.hear(MAX_LOUDNESS.saturating_sub(level), now);
        }
    }

    /// Ends an interval; tells who became dominant.
    pub fn end_interval(&mut self, now: u64) -> Option<ProducerKey> {
        self.silence_idle(now);
        self.evaluate()
    }

    fn silence_idle(&mut self, now: u64) {
        let Some(last) = self.last_silence_check else {
            self.last_silence_check = Some(now);
            return;
        };
        if now.saturating_sub(last) < SILENT_AFTER {
            return;
        }
        self.last_silence_check = Some(now);
        for speaker in &mut self.speakers {
            if now.saturating_sub(speaker.last_packet) > GONE_AFTER && self.dominant != Some(speaker.producer) {
                speaker.gone = true;
            } else if now.saturating_sub(speaker.last_level) > SILENT_AFTER {
                speaker.hear(0, now);
            }
        }
    }

    fn evaluate(&mut self) -> Option<ProducerKey> {
        let winner = match self.speakers.as_mut_slice() {
            [] => None,
            [only] => Some(only.producer),
            speakers => {
                speakers.iter_mut().for_each(Speaker::judge);
                let dominant = self.dominant;
                let reference = speakers
                    .iter()
                    .find(|speaker| Some(speaker.producer) == dominant)
                    .or_else(|| speakers.first());
                reference.map(|reference| challenger(speakers, reference).unwrap_or(reference.producer))
            }
        };
        match winner {
            Some(winner) if self.dominant != Some(winner) => {
                self.dominant = Some(winner);
                Some(winner)
            }
            _ => None,
        }
    }
}

/// Who outdoes the dominant speaker; of several, the one who does so most over the span of a word.
fn challenger(speakers: &[Speaker], dominant: &Speaker) -> Option<ProducerKey> {
    let mut best: Option<(f64, ProducerKey)> = None;
    for speaker in speakers {
        if speaker.producer == dominant.producer || !speaker.competes() {
            continue;
        }
        let mut ratios = speaker
            .scores
            .iter()
            .zip(dominant.scores)
            .map(|(own, other)| (own / other).ln());
        let mut next = || ratios.next().unwrap_or(f64::NEG_INFINITY);
        let ratios = [next(), next(), next()];
        let [_, medium, _] = ratios;
        let outdoes = ratios.iter().zip(MARGINS).all(|(ratio, margin)| *ratio > margin);
        if outdoes && best.is_none_or(|(highest, _)| medium > highest) {
            best = Some((medium, speaker.producer));
        }
    }
    best.map(|(_, producer)| producer)
}
