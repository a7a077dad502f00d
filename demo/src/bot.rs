//! The bot of a room: it repeats to everybody what one tells it.

use std::sync::Weak;
use std::time::Duration;

use client::{
    DataConsumerEvent, DataConsumerOptions, DataProducer, DataProducerOptions, DirectTransport, DirectTransportOptions,
    Events, Transport as _,
};
use tokio::time::Instant;

use crate::branch::Branch;
use crate::member::Member;

/// Label of its channels, both of those to it and of that from it.
pub(crate) const LABEL: &str = "bot";
/// Longest message that reaches it, in bytes.
const MAX_MESSAGE: u32 = 512;
/// Most messages of one sender that it repeats in a second; the others are dropped.
const MAX_RATE: u32 = 20;

/// Hears and speaks on direct transports in the home branch: two, since what it says is longer than what it hears.
#[derive(Debug)]
pub(crate) struct Bot {
    ear: DirectTransport,
    voice: DataProducer,
}

impl Bot {
    pub(crate) async fn create(home: &Branch) -> client::Result<Self> {
        let options = DirectTransportOptions {
            max_message_size: MAX_MESSAGE,
            ..DirectTransportOptions::default()
        };
        let ear = home.router.create_direct_transport(options).await?;
        let mouth = home
            .router
            .create_direct_transport(DirectTransportOptions::default())
            .await?;
        let options = DataProducerOptions {
            label: LABEL.to_owned(),
            ..DataProducerOptions::default()
        };
        let voice = mouth.produce_data(options).await?;
        Ok(Self { ear, voice })
    }

    /// What it says.
    pub(crate) fn voice(&self) -> &DataProducer {
        &self.voice
    }

    /// Repeats what comes from a data producer of the home branch, until that ends.
    pub(crate) async fn listen(&self, speaker: Weak<Member>, producer: &DataProducer) -> client::Result<()> {
        let options = DataConsumerOptions::new(producer.id());
        let consumer = self.ear.consume_data(options).await?;
        tokio::spawn(repeat(self.voice.clone(), speaker, consumer.events()));
        Ok(())
    }
}

async fn repeat(voice: DataProducer, speaker: Weak<Member>, mut events: Events<DataConsumerEvent>) {
    let (mut second, mut count) = (Instant::now(), 0);
    while let Some(event) = events.recv().await {
        let DataConsumerEvent::Message(message) = event else {
            continue;
        };
        let Some(text) = message.as_text().filter(|text| !text.is_empty()) else {
            tracing::debug!(ppid = message.ppid(), "the bot understands text alone");
            continue;
        };
        let Some(profile) = speaker.upgrade().and_then(|member| member.profile()) else {
            return;
        };
        if second.elapsed() >= Duration::from_secs(1) {
            (second, count) = (Instant::now(), 0);
        }
        count += 1;
        if count > MAX_RATE {
            continue;
        }
        let said = format!("{} said me: \"{text}\"", profile.display_name);
        if let Err(error) = voice.send(said.as_str()).await {
            tracing::debug!(%error, "the bot lost its voice");
        }
    }
}
