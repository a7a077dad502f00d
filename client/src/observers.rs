//! Who speaks, and how loudly.

use std::fmt;
use std::sync::{Arc, Weak};

use channel_proto::command::{
    Command, CreateActiveSpeakerObserver, CreateAudioLevelObserver, ObservedProducer, Target,
};
use channel_proto::event::{self, DominantSpeaker};

use crate::app_data::AppData;
use crate::channel::{EventMessage, Link, Message, Reply};
use crate::error::{Error, Result};
use crate::events::{CloseReason, Emitter, Events, RtpObserverEvent};
use crate::router::{Parts, RouterInner};
use crate::sync::Lock;
use crate::{MediaKind, Producer};

/// What an audio level observer is created with.
#[derive(Debug, Clone)]
pub struct AudioLevelObserverOptions {
    /// Most producers that are told at once, at least 1.
    pub max_entries: u16,
    /// Lowest average level that is told, in dBov: −127 (silence) to 0 (loudest).
    pub threshold: i8,
    /// Milliseconds between two events, 250 to 5000.
    pub interval: u16,
    /// Data of the application.
    pub app_data: AppData,
}

impl Default for AudioLevelObserverOptions {
    fn default() -> Self {
        Self {
            max_entries: 1,
            threshold: -80,
            interval: 1000,
            app_data: AppData::default(),
        }
    }
}

impl AudioLevelObserverOptions {
    pub(crate) fn into_command(self) -> (Command, AppData) {
        let command = Command::RouterCreateAudioLevelObserver(Ok(CreateAudioLevelObserver {
            max_entries: self.max_entries,
            threshold: self.threshold,
            interval: self.interval,
        }));
        (command, self.app_data)
    }
}

/// What an active speaker observer is created with.
#[derive(Debug, Clone)]
pub struct ActiveSpeakerObserverOptions {
    /// Milliseconds between two evaluations, 100 to 5000.
    pub interval: u16,
    /// Data of the application.
    pub app_data: AppData,
}

impl Default for ActiveSpeakerObserverOptions {
    fn default() -> Self {
        Self {
            interval: 300,
            app_data: AppData::default(),
        }
    }
}

impl ActiveSpeakerObserverOptions {
    pub(crate) fn into_command(self) -> (Command, AppData) {
        let interval = self.interval;
        let command = Command::RouterCreateActiveSpeakerObserver(Ok(CreateActiveSpeakerObserver { interval }));
        (command, self.app_data)
    }
}

/// How loud a producer was.
#[derive(Debug, Clone)]
pub struct Volume {
    /// The producer.
    pub producer: Producer,
    /// Average in dBov, −127 (silence) to 0 (loudest).
    pub volume: i8,
}

/// The part of an observer that does not depend on its kind.
pub struct ObserverCore {
    id: String,
    target: Target,
    link: Link,
    router: Weak<RouterInner>,
    app_data: AppData,
    events: Emitter<RtpObserverEvent>,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    paused: bool,
}

impl ObserverCore {
    pub(crate) fn new(parts: Parts, app_data: AppData) -> Arc<Self> {
        let Parts {
            id,
            target,
            link,
            router,
        } = parts;
        Arc::new(Self {
            id,
            target,
            link,
            router,
            app_data,
            events: Emitter::new(),
            state: Lock::default(),
        })
    }

    /// Lets messages of the worker in.
    pub(crate) fn listen(core: &Arc<Self>) {
        let weak = Arc::downgrade(core);
        core.link.subscribe(&core.target, move |message| {
            if let (Some(core), Message::Event(event)) = (weak.upgrade(), message) {
                core.on_event(&event);
            }
        });
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        if std::mem::replace(&mut self.state.lock().closed, true) {
            return;
        }
        self.link.unsubscribe(&self.target);
        if reason == CloseReason::Requested {
            self.link.post(self.target.clone(), Command::RtpObserverClose);
        }
        if let Some(router) = self.router.upgrade() {
            router.forget_rtp_observer(&self.id);
        }
        self.events.close(RtpObserverEvent::Closed(reason));
    }

    fn check_open(&self) -> Result<()> {
        if self.state.lock().closed {
            return Err(Error::closed("observer"));
        }
        Ok(())
    }

    async fn request(&self, command: Command, apply: impl FnOnce(Reply) -> Result<()> + Send + 'static) -> Result<()> {
        self.check_open()?;
        self.link.request(self.target.clone(), command, apply).await
    }

    async fn set_paused(core: &Arc<Self>, paused: bool) -> Result<()> {
        let (command, event) = if paused {
            (Command::RtpObserverPause, RtpObserverEvent::Paused)
        } else {
            (Command::RtpObserverResume, RtpObserverEvent::Resumed)
        };
        let observer = Arc::clone(core);
        core.request(command, move |_| {
            if std::mem::replace(&mut observer.state.lock().paused, paused) != paused {
                observer.events.emit(event);
            }
            Ok(())
        })
        .await
    }

    async fn observe(core: &Arc<Self>, producer_id: &str, add: bool) -> Result<()> {
        core.check_open()?;
        let producer = core
            .router
            .upgrade()
            .and_then(|router| router.producer(producer_id))
            .ok_or_else(|| Error::NotFound {
                what: "producer",
                id: producer_id.to_owned(),
            })?;
        if producer.kind() != MediaKind::Audio {
            return Err(Error::Type("only audio can be observed".to_owned()));
        }
        let observed = ObservedProducer {
            producer_id: Some(producer_id.to_owned()),
        };
        let (command, event) = if add {
            let event = RtpObserverEvent::ProducerAdded(producer);
            (Command::RtpObserverAddProducer(Ok(observed)), event)
        } else {
            let event = RtpObserverEvent::ProducerRemoved(producer);
            (Command::RtpObserverRemoveProducer(Ok(observed)), event)
        };
        let observer = Arc::clone(core);
        core.request(command, move |_| {
            observer.events.emit(event);
            Ok(())
        })
        .await
    }

    fn on_event(&self, event: &EventMessage) {
        // Producers that have just been closed are not told about any more.
        let producer = |id: &str| self.router.upgrade()?.producer(id);
        match event.name() {
            "volumes" => {
                let volumes = event.data::<Vec<event::Volume>>().unwrap_or_default();
                let volumes = volumes
                    .iter()
                    .filter_map(|entry| {
                        Some(Volume {
                            producer: producer(&entry.producer_id)?,
                            volume: entry.volume,
                        })
                    })
                    .collect::<Vec<_>>();
                if !volumes.is_empty() {
                    self.events.emit(RtpObserverEvent::Volumes(volumes));
                }
            }
            "silence" => self.events.emit(RtpObserverEvent::Silence),
            "dominantspeaker" => {
                let speaker = event.data::<DominantSpeaker>();
                if let Some(producer) = speaker.and_then(|speaker| producer(&speaker.producer_id)) {
                    self.events.emit(RtpObserverEvent::DominantSpeaker(producer));
                }
            }
            _ => event.unknown("observer"),
        }
    }
}

mod sealed {
    pub trait HasCore {
        fn core(&self) -> &std::sync::Arc<super::ObserverCore>;
    }
}

/// What all observers have in common.
pub trait RtpObserver: sealed::HasCore + Sync {
    /// Its id.
    fn id(&self) -> &str {
        &self.core().id
    }

    /// Data of the application.
    fn app_data(&self) -> &AppData {
        &self.core().app_data
    }

    /// Whether it is closed.
    fn is_closed(&self) -> bool {
        self.core().state.lock().closed
    }

    /// Whether it is paused.
    fn is_paused(&self) -> bool {
        self.core().state.lock().paused
    }

    /// What happens to it, and what it finds.
    fn events(&self) -> Events<RtpObserverEvent> {
        self.core().events.subscribe()
    }

    /// Closes it.
    fn close(&self) {
        self.core().end(CloseReason::Requested);
    }

    /// Stops observing.
    fn pause(&self) -> impl Future<Output = Result<()>> + Send {
        ObserverCore::set_paused(self.core(), true)
    }

    /// Observes again.
    fn resume(&self) -> impl Future<Output = Result<()>> + Send {
        ObserverCore::set_paused(self.core(), false)
    }

    /// Observes an audio producer of the router, until it is closed.
    fn add_producer(&self, producer_id: &str) -> impl Future<Output = Result<()>> + Send {
        ObserverCore::observe(self.core(), producer_id, true)
    }

    /// Observes a producer no more.
    fn remove_producer(&self, producer_id: &str) -> impl Future<Output = Result<()>> + Send {
        ObserverCore::observe(self.core(), producer_id, false)
    }
}

macro_rules! observer {
    ($(#[$doc:meta])* $name:ident, $variant:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            core: Arc<ObserverCore>,
        }

        impl $name {
            pub(crate) fn new(parts: Parts, app_data: AppData) -> Self {
                Self { core: ObserverCore::new(parts, app_data) }
            }
        }

        impl sealed::HasCore for $name {
            fn core(&self) -> &Arc<ObserverCore> {
                &self.core
            }
        }

        impl RtpObserver for $name {}

        impl From<$name> for AnyRtpObserver {
            fn from(observer: $name) -> Self {
                Self::$variant(observer)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("id", &self.core.id).finish_non_exhaustive()
            }
        }
    };
}

observer! {
    /// Tells who is loudest. Made by
    /// [`Router::create_audio_level_observer`](crate::Router::create_audio_level_observer).
    ///
    /// ```no_run
    /// use client::{AudioLevelObserverOptions, Producer, Router, RtpObserver, RtpObserverEvent};
    ///
    /// # async fn example(router: Router, microphone: Producer) -> client::Result<()> {
    /// let options = AudioLevelObserverOptions { max_entries: 3, ..Default::default() };
    /// let observer = router.create_audio_level_observer(options).await?;
    /// observer.add_producer(microphone.id()).await?;
    /// let mut events = observer.events();
    /// while let Some(event) = events.recv().await {
    ///     match event {
    ///         RtpObserverEvent::Volumes(volumes) => println!("{} speak", volumes.len()),
    ///         RtpObserverEvent::Silence => println!("nobody speaks"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    AudioLevelObserver, AudioLevel
}

observer! {
    /// Tells who speaks. Made by
    /// [`Router::create_active_speaker_observer`](crate::Router::create_active_speaker_observer).
    ActiveSpeakerObserver, ActiveSpeaker
}

/// An observer of any kind.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AnyRtpObserver {
    /// Who is loudest.
    AudioLevel(AudioLevelObserver),
    /// Who speaks.
    ActiveSpeaker(ActiveSpeakerObserver),
}

impl AnyRtpObserver {
    pub(crate) fn core(&self) -> &Arc<ObserverCore> {
        sealed::HasCore::core(self)
    }
}

impl sealed::HasCore for AnyRtpObserver {
    fn core(&self) -> &Arc<ObserverCore> {
        match self {
            Self::AudioLevel(observer) => &observer.core,
            Self::ActiveSpeaker(observer) => &observer.core,
        }
    }
}

impl RtpObserver for AnyRtpObserver {}
