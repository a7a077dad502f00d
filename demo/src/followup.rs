//! What is done once a request is answered: pages rely on the answer coming first.

use std::sync::Arc;

use client::{DataProducer, MediaKind, Producer};

use crate::data::Source;
use crate::member::Member;
use crate::room::{Peer, Room};

/// What is done once a request is answered.
#[derive(Debug)]
pub(crate) enum Followup {
    /// Send media to a peer.
    Consume {
        to: Peer,
        owner: Arc<Member>,
        producer: Producer,
    },
    /// Send data to a peer.
    ConsumeData {
        to: Peer,
        owner: Arc<Member>,
        producer: DataProducer,
    },
    /// Send to a peer what the bot says.
    ConsumeBot(Peer),
    /// Have the observers hear a producer of audio.
    Observe { owner: Arc<Member>, producer: Producer },
    /// Have the bot hear a data producer.
    Listen { owner: Arc<Member>, producer: DataProducer },
}

impl Member {
    /// A peer that joins gets all that this one produces.
    pub(crate) fn send_all_to(self: &Arc<Self>, to: &Peer, then: &mut Vec<Followup>) {
        let state = self.lock();
        let (to, owner) = (|| to.clone(), || Arc::clone(self));
        then.extend(state.producers.values().map(|producer| Followup::Consume {
            to: to(),
            owner: owner(),
            producer: producer.clone(),
        }));
        let for_all = state
            .data_producers
            .values()
            .filter(|producer| producer.label() != crate::bot::LABEL);
        then.extend(for_all.map(|producer| Followup::ConsumeData {
            to: to(),
            owner: owner(),
            producer: producer.clone(),
        }));
    }
}

impl Room {
    /// The others get what is new. Whoever calls this holds the roster.
    pub(crate) fn send_to_all(&self, owner: &Arc<Member>, producer: &Producer, then: &mut Vec<Followup>) {
        for (to, _) in self.other_peers(&owner.id) {
            let (owner, producer) = (Arc::clone(owner), producer.clone());
            then.push(Followup::Consume { to, owner, producer });
        }
        if producer.kind() == MediaKind::Audio {
            let (owner, producer) = (Arc::clone(owner), producer.clone());
            then.push(Followup::Observe { owner, producer });
        }
    }

    /// The others get what is new, or the bot alone if it is for it. Whoever calls this holds the roster.
    pub(crate) fn send_data_to_all(&self, owner: &Arc<Member>, producer: &DataProducer, then: &mut Vec<Followup>) {
        if producer.label() == crate::bot::LABEL {
            let (owner, producer) = (Arc::clone(owner), producer.clone());
            return then.push(Followup::Listen { owner, producer });
        }
        for (to, _) in self.other_peers(&owner.id) {
            let (owner, producer) = (Arc::clone(owner), producer.clone());
            then.push(Followup::ConsumeData { to, owner, producer });
        }
    }

    /// Does each in a task of its own: a page that does not answer holds up nobody.
    pub(crate) fn follow_up(self: &Arc<Self>, then: Vec<Followup>) {
        for followup in then {
            let room = Arc::clone(self);
            tokio::spawn(async move { room.do_now(followup).await });
        }
    }

    async fn do_now(&self, followup: Followup) {
        match followup {
            Followup::Consume { to, owner, producer } => self.push(&to, &owner, &producer).await,
            Followup::ConsumeData { to, owner, producer } => {
                self.push_data(&to, Source::Member(&owner), &producer).await;
            }
            Followup::ConsumeBot(to) => self.push_data(&to, Source::Bot, self.bot.voice()).await,
            Followup::Observe { owner, producer } => match self.home.bring(&owner.branch, &producer).await {
                Ok(()) => self.speakers.observe(&producer).await,
                Err(error) => tracing::debug!(%error, "nobody hears it speak"),
            },
            Followup::Listen { owner, producer } => {
                let listen = async {
                    self.home.bring_data(&owner.branch, &producer).await?;
                    self.bot.listen(Arc::downgrade(&owner), &producer).await
                };
                if let Err(error) = listen.await {
                    tracing::warn!(%error, "the bot does not hear it");
                }
            }
        }
    }
}
