//! Observers of audio.

use std::time::Duration;

use client::{
    ActiveSpeakerObserverOptions, AnyRtpObserver, AudioLevelObserverOptions, CloseReason, DirectTransport,
    DirectTransportOptions, Error, ErrorKind, Events, MediaKind, Producer, ProducerOptions, RouterEvent,
    RtpHeaderExtensionParameters, RtpObserver, RtpObserverEvent, Transport,
};

use crate::common::{audio, next, rest, router, video, worker};

const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

async fn speaker(transport: &DirectTransport, ssrc: u32) -> Producer {
    let mut parameters = audio(ssrc);
    parameters.header_extensions.push(RtpHeaderExtensionParameters {
        uri: LEVEL.to_owned(),
        id: 10,
        encrypt: false,
        parameters: Default::default(),
    });
    let options = ProducerOptions::new(MediaKind::Audio, parameters);
    transport.produce(options).await.unwrap()
}

/// A packet that says how loud its sound is, in −dBov (RFC 6464).
fn sound(ssrc: u32, sequence_number: u16, level: u8) -> Vec<u8> {
    let mut packet = vec![0x90, 111];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend((u32::from(sequence_number) * 960).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 1, 0xa0, 0x80 | level, 0, 0]);
    packet.extend(b"sound");
    packet
}

/// Speaks until there is an event of the wanted kind.
async fn speak_until(
    producer: &Producer,
    (ssrc, level): (u32, u8),
    events: &mut Events<RtpObserverEvent>,
    wanted: impl Fn(&RtpObserverEvent) -> bool,
) -> RtpObserverEvent {
    let speaking = async {
        for number in 0_u16.. {
            producer.send(sound(ssrc, number, level)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        event = find(events, wanted) => event,
        () = speaking => unreachable!("there are enough numbers"),
    }
}

async fn find(events: &mut Events<RtpObserverEvent>, wanted: impl Fn(&RtpObserverEvent) -> bool) -> RtpObserverEvent {
    loop {
        let event = next(events).await;
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn who_is_loud_is_told_and_silence_once() {
    let worker = worker().await;
    let router = router(&worker).await;
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    let producer = speaker(&transport, 1).await;
    let mut router_events = router.events();
    next(&mut router_events).await;
    let options = AudioLevelObserverOptions {
        interval: 250,
        ..AudioLevelObserverOptions::default()
    };
    let observer = router.create_audio_level_observer(options).await.unwrap();
    assert!(matches!(
        next(&mut router_events).await,
        RouterEvent::NewRtpObserver(AnyRtpObserver::AudioLevel(new)) if new.id() == observer.id()
    ));
    assert_eq!(router.dump().await.unwrap().rtp_observer_ids, [observer.id()]);
    let mut events = observer.events();
    observer.add_producer(producer.id()).await.unwrap();
    assert!(matches!(
        next(&mut events).await,
        RtpObserverEvent::ProducerAdded(added) if added.id() == producer.id()
    ));
    let volumes = |event: &RtpObserverEvent| matches!(event, RtpObserverEvent::Volumes(_));
    let RtpObserverEvent::Volumes(volumes) = speak_until(&producer, (1, 30), &mut events, volumes).await else {
        unreachable!("that was asked for")
    };
    assert_eq!(
        (volumes.len(), volumes[0].producer.id(), volumes[0].volume),
        (1, producer.id(), -30)
    );
    find(&mut events, |event| matches!(event, RtpObserverEvent::Silence)).await;

    observer.remove_producer(producer.id()).await.unwrap();
    assert!(matches!(next(&mut events).await, RtpObserverEvent::ProducerRemoved(_)));
    observer.close();
    assert!(matches!(
        rest(events).await.as_slice(),
        [RtpObserverEvent::Closed(CloseReason::Requested)]
    ));
    assert!(router.rtp_observers().is_empty());
    assert!(router.dump().await.unwrap().rtp_observer_ids.is_empty());
}

#[tokio::test]
async fn who_speaks_is_told() {
    let worker = worker().await;
    let router = router(&worker).await;
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    let producer = speaker(&transport, 1).await;
    let options = ActiveSpeakerObserverOptions {
        interval: 100,
        ..ActiveSpeakerObserverOptions::default()
    };
    let observer = router.create_active_speaker_observer(options).await.unwrap();
    let mut events = observer.events();
    observer.add_producer(producer.id()).await.unwrap();
    let dominant = |event: &RtpObserverEvent| matches!(event, RtpObserverEvent::DominantSpeaker(_));
    let event = speak_until(&producer, (1, 10), &mut events, dominant).await;
    assert!(matches!(event, RtpObserverEvent::DominantSpeaker(speaker) if speaker.id() == producer.id()));
    let twice = observer.add_producer(producer.id()).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Other);
}

#[tokio::test]
async fn pausing_observers() {
    let worker = worker().await;
    let router = router(&worker).await;
    let observer = router.create_audio_level_observer(Default::default()).await.unwrap();
    let events = observer.events();
    observer.pause().await.unwrap();
    observer.pause().await.unwrap();
    assert!(observer.is_paused());
    observer.resume().await.unwrap();
    observer.resume().await.unwrap();
    assert!(!observer.is_paused());
    router.close();
    assert!(matches!(
        rest(events).await.as_slice(),
        [
            RtpObserverEvent::Paused,
            RtpObserverEvent::Resumed,
            RtpObserverEvent::Closed(CloseReason::RouterClosed)
        ]
    ));
    assert_eq!(observer.pause().await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn what_cannot_be_observed() {
    let worker = worker().await;
    let router = router(&worker).await;
    let options = AudioLevelObserverOptions {
        max_entries: 0,
        ..AudioLevelObserverOptions::default()
    };
    let error = router.create_audio_level_observer(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Type);
    let with_threshold = async |threshold| {
        let options = AudioLevelObserverOptions {
            threshold,
            ..AudioLevelObserverOptions::default()
        };
        let observer = router.create_audio_level_observer(options).await;
        observer.map(|observer| observer.close()).map_err(|error| error.kind())
    };
    for wrong in [1, -128] {
        assert_eq!(with_threshold(wrong).await, Err(ErrorKind::Type), "{wrong}");
    }
    for right in [0, -127] {
        assert_eq!(with_threshold(right).await, Ok(()), "{right}");
    }
    assert!(router.rtp_observers().is_empty());

    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    let options = ProducerOptions::new(MediaKind::Video, video(1));
    let picture = transport.produce(options).await.unwrap();
    let observer = router.create_active_speaker_observer(Default::default()).await.unwrap();
    assert_eq!(
        observer.add_producer(picture.id()).await.unwrap_err().kind(),
        ErrorKind::Type
    );
    let nobody = observer.add_producer("nobody").await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })));
}

/// Levels of somebody who speaks: what never changes would be noise.
const SPEECH: [u8; 16] = [10, 12, 30, 8, 70, 15, 9, 127, 20, 11, 40, 7, 60, 127, 14, 10];

/// Lets two speak at the same time, each with its SSRC and these levels in turn, until there is an event of the wanted
/// kind.
async fn both_until(
    speakers: [(&Producer, u32, &[u8]); 2],
    events: &mut Events<RtpObserverEvent>,
    wanted: impl Fn(&RtpObserverEvent) -> bool,
) -> RtpObserverEvent {
    let speaking = async {
        for number in 0_u16.. {
            for (producer, ssrc, levels) in speakers {
                let level = levels[usize::from(number) % levels.len()];
                producer.send(sound(ssrc, number, level)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        event = find(events, wanted) => event,
        () = speaking => unreachable!("there are enough numbers"),
    }
}

#[tokio::test]
async fn the_loudest_comes_first() {
    let worker = worker().await;
    let router = router(&worker).await;
    let options = DirectTransportOptions::default();
    let transport = router.create_direct_transport(options).await.unwrap();
    let (quiet, loud) = (speaker(&transport, 1).await, speaker(&transport, 2).await);
    let options = AudioLevelObserverOptions {
        max_entries: 2,
        interval: 250,
        ..AudioLevelObserverOptions::default()
    };
    let observer = router.create_audio_level_observer(options).await.unwrap();
    let mut events = observer.events();
    observer.add_producer(quiet.id()).await.unwrap();
    observer.add_producer(loud.id()).await.unwrap();
    let two = |event: &RtpObserverEvent| matches!(event, RtpObserverEvent::Volumes(volumes) if volumes.len() == 2);
    let event = both_until([(&quiet, 1, &[60]), (&loud, 2, &[30])], &mut events, two).await;
    let RtpObserverEvent::Volumes(volumes) = event else {
        unreachable!("that was waited for")
    };
    let found = volumes.iter().map(|found| (found.producer.id(), found.volume));
    assert_eq!(found.collect::<Vec<_>>(), [(loud.id(), -30), (quiet.id(), -60)]);
}

#[tokio::test]
async fn dominance_goes_back_and_forth() {
    let worker = worker().await;
    let router = router(&worker).await;
    let options = DirectTransportOptions::default();
    let transport = router.create_direct_transport(options).await.unwrap();
    let speakers = [(speaker(&transport, 1).await, 1), (speaker(&transport, 2).await, 2)];
    let options = ActiveSpeakerObserverOptions {
        interval: 100,
        ..ActiveSpeakerObserverOptions::default()
    };
    let observer = router.create_active_speaker_observer(options).await.unwrap();
    let mut events = observer.events();
    for (producer, _) in &speakers {
        observer.add_producer(producer.id()).await.unwrap();
    }
    let [first, second] = &speakers;
    for ((speaking, ssrc), (silent, other)) in [(first, second), (second, first), (first, second)] {
        let both = [(speaking, *ssrc, &SPEECH[..]), (silent, *other, &[127][..])];
        let dominant = |event: &RtpObserverEvent| matches!(event, RtpObserverEvent::DominantSpeaker(found) if found.id() == speaking.id());
        both_until(both, &mut events, dominant).await;
    }
}
