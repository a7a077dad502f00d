//! What a worker says, as JSON.

use serde::Serialize;

use crate::event::{Event, Notification, PayloadEvent, PayloadNotification};
use crate::reply::{FailureKind, Reply, Response};

/// A frame from values that always serialise: maps have text keys, numbers are finite.
fn frame(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A response, for either channel.
pub fn encode_response(response: &Response) -> Vec<u8> {
    #[derive(Serialize)]
    struct Accepted<'a> {
        accepted: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a Reply>,
        id: u32,
    }
    #[derive(Serialize)]
    struct Refused<'a> {
        error: FailureKind,
        id: u32,
        reason: &'a str,
    }
    let id = response.id;
    match &response.result {
        Ok(reply) => frame(&Accepted {
            accepted: true,
            data: Some(reply).filter(|reply| **reply != Reply::None),
            id,
        }),
        Err(failure) => frame(&Refused {
            error: failure.kind,
            id,
            reason: &failure.reason,
        }),
    }
}

/// A notification of the Channel.
pub fn encode_notification(notification: &Notification) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Running {
        event: &'static str,
        target_id: u32,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entity<'a> {
        #[serde(flatten)]
        event: &'a Event,
        target_id: &'a str,
    }
    match notification {
        Notification::Running { pid } => frame(&Running {
            event: "running",
            target_id: *pid,
        }),
        Notification::Entity { target_id, event } => frame(&Entity { event, target_id }),
    }
}

/// The header of a notification of the PayloadChannel.
pub fn encode_payload_notification(notification: &PayloadNotification) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Header<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Ppid>,
        event: &'static str,
        target_id: &'a str,
    }
    #[derive(Serialize)]
    struct Ppid {
        ppid: u32,
    }
    let (event, data) = match notification.event {
        PayloadEvent::Rtp => ("rtp", None),
        PayloadEvent::Rtcp => ("rtcp", None),
        PayloadEvent::Message { ppid } => ("message", Some(Ppid { ppid })),
    };
    frame(&Header {
        data,
        event,
        target_id: &notification.target_id,
    })
}
