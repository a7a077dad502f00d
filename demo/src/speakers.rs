//! Who speaks: the observers of a room.

use std::sync::Weak;

use client::{
    ActiveSpeakerObserver, ActiveSpeakerObserverOptions, AudioLevelObserver, AudioLevelObserverOptions, Producer,
    RtpObserver as _, RtpObserverEvent,
};
use serde_json::{Value, json};

use crate::branch::Branch;
use crate::room::Room;

/// The observers of a room, in its home branch.
#[derive(Debug)]
pub(crate) struct Speakers {
    levels: AudioLevelObserver,
    dominance: ActiveSpeakerObserver,
}

impl Speakers {
    pub(crate) async fn create(home: &Branch) -> client::Result<Self> {
        let options = AudioLevelObserverOptions {
            max_entries: 1,
            threshold: -80,
            interval: 800,
            ..AudioLevelObserverOptions::default()
        };
        Ok(Self {
            levels: home.router.create_audio_level_observer(options).await?,
            dominance: home
                .router
                .create_active_speaker_observer(ActiveSpeakerObserverOptions::default())
                .await?,
        })
    }

    /// Listens to a producer of audio, which is in the home branch. It ends with the producer.
    pub(crate) async fn observe(&self, producer: &Producer) {
        let (level, dominance) = tokio::join!(
            self.levels.add_producer(producer.id()),
            self.dominance.add_producer(producer.id())
        );
        if let Err(error) = level.and(dominance) {
            tracing::debug!(%error, producer = producer.id(), "nobody hears it speak");
        }
    }

    /// Tells the room who speaks, until it ends.
    pub(crate) fn follow(&self, room: Weak<Room>) -> impl Future<Output = ()> + use<> {
        let (mut levels, mut dominance) = (self.levels.events(), self.dominance.events());
        async move {
            loop {
                let event = tokio::select! {
                    event = levels.recv() => event,
                    event = dominance.recv() => event,
                };
                let (Some(event), Some(room)) = (event, room.upgrade()) else {
                    return;
                };
                match event {
                    RtpObserverEvent::Volumes(volumes) => {
                        if let Some(loudest) = volumes.first() {
                            let data = json!({ "peerId": owner(&loudest.producer), "volume": loudest.volume });
                            room.tell_all("activeSpeaker", &data);
                        }
                    }
                    RtpObserverEvent::Silence => room.tell_all("activeSpeaker", &json!({ "peerId": null })),
                    RtpObserverEvent::DominantSpeaker(producer) => {
                        room.tell_all("dominantSpeaker", &json!({ "peerId": owner(&producer) }));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Whose producer it is: that is written on each of them.
fn owner(producer: &Producer) -> Option<&Value> {
    producer.app_data().get::<Value>()?.get("peerId")
}
