//! Who listens for what the worker tells.

use std::collections::HashMap;
use std::sync::Arc;

use channel_proto::command::Target;

use super::Message;

pub(super) type Listener = Arc<dyn Fn(Message) + Send + Sync>;

/// Objects that are told something, by their ids.
///
/// An id is that of one object, but for producers that are piped from one router to another one of the same worker: both
/// have the same id, and the worker does not say which of them it means. Both are told then.
#[derive(Default)]
pub(super) struct Listeners {
    objects: HashMap<String, Vec<Object>>,
}

struct Object {
    target: Target,
    state: State,
}

enum State {
    /// Being created: what is told about it waits.
    Queue(Vec<Message>),
    Listening(Listener),
}

/// The id of what a target names: the innermost one.
pub(super) fn id(target: &Target) -> &str {
    [
        &target.data_consumer_id,
        &target.data_producer_id,
        &target.consumer_id,
        &target.producer_id,
        &target.rtp_observer_id,
        &target.transport_id,
        &target.router_id,
        &target.web_rtc_server_id,
    ]
    .into_iter()
    .flatten()
    .next()
    .map_or("", String::as_str)
}

impl Listeners {
    fn find(&mut self, target: &Target) -> Option<&mut State> {
        let objects = self.objects.get_mut(id(target))?;
        let object = objects.iter_mut().find(|object| object.target == *target);
        object.map(|object| &mut object.state)
    }

    /// Collects what is told about an object from now on. Not if there is such an object.
    pub(super) fn expect(&mut self, target: &Target) -> bool {
        if self.find(target).is_some() {
            return false;
        }
        let objects = self.objects.entry(id(target).to_owned()).or_default();
        objects.push(Object {
            target: target.clone(),
            state: State::Queue(Vec::new()),
        });
        true
    }

    /// What was told about an object meanwhile; if that is nothing, it listens from now on.
    pub(super) fn listen(&mut self, target: &Target, listener: &Listener) -> Vec<Message> {
        match self.find(target) {
            Some(State::Queue(queue)) if !queue.is_empty() => std::mem::take(queue),
            Some(state) => {
                *state = State::Listening(Arc::clone(listener));
                Vec::new()
            }
            // Closed while it was being set up.
            None => Vec::new(),
        }
    }

    /// Nothing is told to an object any more.
    pub(super) fn remove(&mut self, target: &Target) {
        self.remove_if(target, |_| true);
    }

    /// The same, if it does not listen yet.
    pub(super) fn remove_unless_listening(&mut self, target: &Target) {
        self.remove_if(target, |state| matches!(state, State::Queue(_)));
    }

    fn remove_if(&mut self, target: &Target, wanted: impl Fn(&State) -> bool) {
        let id = id(target);
        if let Some(objects) = self.objects.get_mut(id) {
            objects.retain(|object| object.target != *target || !wanted(&object.state));
            if objects.is_empty() {
                self.objects.remove(id);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.objects.clear();
    }

    /// Whom to tell a message with this id, besides those for whom it has been put aside.
    pub(super) fn route(&mut self, id: &str, message: &Message) -> Option<Vec<Listener>> {
        let objects = self.objects.get_mut(id)?;
        let ready = objects.iter_mut().filter_map(|object| match &mut object.state {
            State::Queue(queue) => {
                queue.push(message.clone());
                None
            }
            State::Listening(listener) => Some(Arc::clone(listener)),
        });
        Some(ready.collect())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use channel_proto::event::PayloadEvent;

    use super::*;
    use crate::sync::Lock;

    fn producer(router: &str) -> Target {
        Target {
            router_id: Some(router.to_owned()),
            transport_id: Some(format!("transport of {router}")),
            producer_id: Some("p".to_owned()),
            ..Target::default()
        }
    }

    fn message(text: &'static str) -> Message {
        Message::Payload(PayloadEvent::Rtp, Bytes::from_static(text.as_bytes()))
    }

    /// A listener that keeps what it is told.
    fn listener() -> (Listener, Arc<Lock<Vec<String>>>) {
        let told = Arc::<Lock<Vec<String>>>::default();
        let log = Arc::clone(&told);
        let listener = move |message| match message {
            Message::Payload(_, text) => log.lock().push(String::from_utf8(text.to_vec()).unwrap()),
            Message::Event(event) => log.lock().push(event.name().to_owned()),
        };
        (Arc::new(listener), told)
    }

    fn tell(listeners: &mut Listeners, text: &'static str) {
        let message = message(text);
        let ready = listeners.route("p", &message);
        ready
            .into_iter()
            .flatten()
            .for_each(|listener| listener(message.clone()));
    }

    #[test]
    fn two_objects_of_one_id_are_both_told() {
        let mut listeners = Listeners::default();
        let (here, there) = (producer("here"), producer("there"));
        let ((first, first_told), (second, second_told)) = (listener(), listener());
        assert!(listeners.expect(&here) && !listeners.expect(&here));
        assert!(listeners.listen(&here, &first).is_empty());
        tell(&mut listeners, "one");
        assert!(listeners.expect(&there));
        tell(&mut listeners, "two");
        assert_eq!(listeners.listen(&there, &second).len(), 1);
        assert!(listeners.listen(&there, &second).is_empty());
        tell(&mut listeners, "three");
        assert_eq!(*first_told.lock(), ["one", "two", "three"]);
        assert_eq!(*second_told.lock(), ["three"]);
        // One of them goes, the other one stays.
        listeners.remove(&here);
        listeners.remove_unless_listening(&there);
        tell(&mut listeners, "four");
        assert_eq!((first_told.lock().len(), second_told.lock().len()), (3, 2));
        listeners.remove(&there);
        assert!(listeners.is_empty());
    }

    #[test]
    fn the_innermost_id_names_the_object() {
        let transport = Target {
            producer_id: None,
            web_rtc_server_id: Some("server".to_owned()),
            ..producer("r")
        };
        let consumer = Target {
            consumer_id: Some("c".to_owned()),
            ..producer("r")
        };
        let data_consumer = Target {
            data_producer_id: Some("dp".to_owned()),
            data_consumer_id: Some("dc".to_owned()),
            ..transport.clone()
        };
        for (target, name) in [
            (producer("r"), "p"),
            (transport, "transport of r"),
            (consumer, "c"),
            (data_consumer, "dc"),
            (Target::default(), ""),
        ] {
            assert_eq!(id(&target), name);
        }
    }
}
