//! Objects against a worker that is played by the test, for what a real one does only at odd moments.

mod fake;
mod media;
mod pipes;
mod told;

use crate::Events;

/// The next event, which has to come soon.
async fn next<E>(events: &mut Events<E>) -> E {
    let event = tokio::time::timeout(std::time::Duration::from_secs(5), events.recv()).await;
    event.expect("no event").expect("no more events")
}
