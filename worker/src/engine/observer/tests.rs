use channel_proto::command::CreateAudioLevelObserver;
use slotmap::SlotMap;

use super::active_speaker::ActiveSpeakerObserver;
use super::audio_level::AudioLevelObserver;
use crate::engine::keys::ProducerKey;

const FRAME: u64 = 20_000;
const INTERVAL: u64 = 300_000;

/// Keys of producers that need not exist.
fn keys<const N: usize>() -> [ProducerKey; N] {
    let mut map: SlotMap<ProducerKey, ()> = SlotMap::with_key();
    std::array::from_fn(|_| map.insert(()))
}

/// Lets time pass with these levels (0 loudest); returns who became dominant, and when.
fn listen(
    observer: &mut ActiveSpeakerObserver,
    now: &mut u64,
    frames: u64,
    level: impl Fn(u64) -> Vec<(ProducerKey, u8)>,
) -> Vec<(u64, ProducerKey)> {
    let mut told = Vec::new();
    for frame in 0..frames {
        *now += FRAME;
        for (producer, level) in level(frame) {
            observer.level(producer, level, *now);
        }
        if now.is_multiple_of(INTERVAL) {
            told.extend(observer.end_interval(*now).map(|producer| (*now, producer)));
        }
    }
    told
}

#[test]
fn who_is_alone_is_dominant_at_once_and_is_told_once() {
    let [alone] = keys();
    let mut observer = ActiveSpeakerObserver::default();
    assert!(observer.add(alone, false, 0));
    assert!(!observer.add(alone, false, 0), "added twice");
    assert_eq!(observer.end_interval(INTERVAL), Some(alone));
    assert_eq!(observer.end_interval(2 * INTERVAL), None);
}

#[test]
fn the_speaker_becomes_dominant_and_a_cough_does_not_change_that() {
    let [first, speaker, cougher] = keys();
    let mut observer = ActiveSpeakerObserver::default();
    for producer in [first, speaker, cougher] {
        observer.add(producer, false, 0);
    }
    let mut now = 0;
    let silence = |_| vec![(first, 100), (speaker, 100), (cougher, 100)];
    let told = listen(&mut observer, &mut now, 150, silence);
    assert_eq!(
        told.iter().map(|told| told.1).collect::<Vec<_>>(),
        [first],
        "the first one, for want of another"
    );
    let speech = |_| vec![(first, 100), (speaker, 15), (cougher, 100)];
    let told = listen(&mut observer, &mut now, 300, speech);
    assert_eq!(told.iter().map(|told| told.1).collect::<Vec<_>>(), [speaker]);
    // Two frames in a second, in the midst of speech.
    let cough = |frame| {
        vec![
            (first, 100),
            (speaker, 15),
            (cougher, if frame % 50 < 2 { 10 } else { 100 }),
        ]
    };
    assert_eq!(listen(&mut observer, &mut now, 300, cough), []);
}

#[test]
fn when_the_speaker_leaves_or_pauses_another_one_takes_over() {
    let [one, two] = keys();
    let mut observer = ActiveSpeakerObserver::default();
    observer.add(one, false, 0);
    observer.add(two, false, 0);
    let mut now = 0;
    listen(&mut observer, &mut now, 150, |_| vec![(one, 100), (two, 100)]);
    let told = listen(&mut observer, &mut now, 150, |_| vec![(one, 15), (two, 100)]);
    assert_eq!(told, [], "the first one was dominant already");
    assert_eq!(observer.remove(one), Some(two));
    assert_eq!(observer.remove(two), None);
    assert_eq!(observer.end_interval(now), None, "nobody is left");
}

#[test]
fn levels_are_averaged_over_an_interval_and_few_packets_do_not_count() {
    let [loud, quiet, rare] = keys();
    let options = CreateAudioLevelObserver {
        max_entries: 5,
        threshold: -60,
        interval: 1000,
    };
    let mut observer = AudioLevelObserver::new(&options);
    [loud, quiet, rare]
        .into_iter()
        .for_each(|producer| observer.add(producer));
    for frame in 0..20 {
        observer.level(loud, 20 + frame % 2);
        observer.level(quiet, 70);
    }
    (0..9).for_each(|_| observer.level(rare, 1));
    let volumes: Vec<_> = observer.loud().into_iter().collect();
    assert_eq!(
        volumes,
        [(loud, -20)],
        "integer average; the quiet one is below the threshold, the rare one too rare"
    );
}
