//! What all of these tests use.

use std::path::PathBuf;
use std::time::Duration;

use client::{
    Events, ParameterValue, Router, RouterOptions, RtcpFeedback, RtpCodecCapability, RtpCodecParameters,
    RtpEncodingParameters, RtpParameters, Worker, WorkerSettings,
};

/// The worker's program: `$WORKER_BIN`, or the one that was built along with this test.
pub fn settings() -> WorkerSettings {
    let built = || {
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.join("worker"))
    };
    let binary = std::env::var_os("WORKER_BIN")
        .map(PathBuf::from)
        .or_else(built)
        .filter(|path| path.is_file());
    assert!(
        binary.is_some(),
        "there is no worker to test with: run `cargo build -p worker` first, or `make test`"
    );
    WorkerSettings {
        binary,
        ..WorkerSettings::default()
    }
}

pub async fn worker() -> Worker {
    Worker::new(settings()).await.unwrap()
}

pub fn opus() -> RtpCodecCapability {
    RtpCodecCapability::audio("audio/opus", 48_000, 2)
}

pub fn vp8() -> RtpCodecCapability {
    RtpCodecCapability::video("video/VP8")
}

pub async fn router(worker: &Worker) -> Router {
    worker
        .create_router(RouterOptions::new(vec![
            opus(),
            vp8(),
            RtpCodecCapability::video("video/VP9"),
        ]))
        .await
        .unwrap()
}

/// What a sender of this codec says of it.
pub fn codec(capability: RtpCodecCapability, payload_type: u8) -> RtpCodecParameters {
    let RtpCodecCapability {
        mime_type,
        clock_rate,
        channels,
        parameters,
        rtcp_feedback,
        ..
    } = capability;
    RtpCodecParameters {
        mime_type,
        payload_type,
        clock_rate,
        channels,
        parameters,
        rtcp_feedback,
    }
}

/// A sender of Opus with payload type 111.
pub fn audio(ssrc: u32) -> RtpParameters {
    let encodings = vec![RtpEncodingParameters {
        ssrc: Some(ssrc),
        ..Default::default()
    }];
    RtpParameters {
        codecs: vec![codec(opus(), 111)],
        encodings,
        ..Default::default()
    }
}

/// A sender of VP8 with payload type 96 and retransmission as 97.
pub fn video(ssrc: u32) -> RtpParameters {
    let mut media = codec(vp8(), 96);
    media.rtcp_feedback = [("nack", ""), ("nack", "pli"), ("ccm", "fir")]
        .map(|(kind, parameter)| RtcpFeedback {
            kind: kind.to_owned(),
            parameter: parameter.to_owned(),
        })
        .to_vec();
    let mut rtx = codec(RtpCodecCapability::video("video/rtx"), 97);
    rtx.parameters.insert("apt".to_owned(), ParameterValue::Integer(96));
    let encodings = vec![RtpEncodingParameters {
        ssrc: Some(ssrc),
        ..Default::default()
    }];
    RtpParameters {
        codecs: vec![media, rtx],
        encodings,
        ..Default::default()
    }
}

/// An RTP packet of the audio sender.
pub fn packet(ssrc: u32, sequence_number: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 111];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend((u32::from(sequence_number) * 960).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// The next event, which has to come soon.
pub async fn next<E>(events: &mut Events<E>) -> E {
    let event = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
    event.expect("no event").expect("no more events")
}

/// All events until the stream ends, which has to be soon.
pub async fn rest<E>(mut events: Events<E>) -> Vec<E> {
    let mut all = Vec::new();
    let read = async {
        while let Some(event) = events.recv().await {
            all.push(event);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read)
        .await
        .expect("the stream does not end");
    all
}
