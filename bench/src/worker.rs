//! Drives a worker binary over its pipes: as many objects as the scenario needs, and no more.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use command_fds::{CommandFdExt, FdMapping};
use serde_json::{Value, json};

use crate::cpu;
use crate::rtp;
use crate::scenario::Variant;

/// How long a worker may take to start, to answer or to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest frame that the protocol knows.
const LARGEST_FRAME: usize = 4 << 20;
/// SSRC between producer and consumers, inside of the worker.
const MAPPED_SSRC: u32 = 90_000_001;
/// SSRC of the first consumer; the others follow.
const CONSUMER_SSRC: u32 = 70_000_000;
/// SSRC of the retransmissions of the first consumer; the others follow.
const CONSUMER_RTX_SSRC: u32 = 80_000_000;

const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// How the consumers' transports protect what they send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protection {
    /// Not at all.
    Clear,
    /// AEAD_AES_256_GCM
    Gcm256,
    /// AEAD_AES_128_GCM
    Gcm128,
    /// AES_CM_128_HMAC_SHA1_80
    Cm80,
    /// AES_CM_128_HMAC_SHA1_32
    Cm32,
}

impl Protection {
    /// The name in the protocol and the bytes of key and salt; nothing in the clear.
    fn suite(self) -> Option<(&'static str, usize)> {
        match self {
            Self::Clear => None,
            Self::Gcm256 => Some(("AEAD_AES_256_GCM", 44)),
            Self::Gcm128 => Some(("AEAD_AES_128_GCM", 28)),
            Self::Cm80 => Some(("AES_CM_128_HMAC_SHA1_80", 30)),
            Self::Cm32 => Some(("AES_CM_128_HMAC_SHA1_32", 30)),
        }
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        self.suite().map_or("clear", |(name, _)| name)
    }
}

/// A running worker with one router and one producer. Dropping it ends the process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    requests: UnixStream,
    answers: Receiver<Value>,
    /// The payload channel's way in, unused but to be kept open.
    _payloads: UnixStream,
    next_id: u32,
    /// The port that the producer's packets are expected on.
    pub port: u16,
}

impl Worker {
    /// Starts a worker and makes a router, the producer's transport and the producer.
    pub fn spawn(binary: &Path) -> Result<Self> {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for child_fd in 3..=6 {
            let (here, there) = UnixStream::pair()?;
            ours.push(here);
            theirs.push(FdMapping {
                parent_fd: OwnedFd::from(there),
                child_fd,
            });
        }
        let [requests, responses, payloads, payload_events]: [UnixStream; 4] =
            ours.try_into().map_err(|_| anyhow!("four channels expected"))?;
        let mut command = Command::new(binary);
        command
            .args(["--logLevel=none", "--rtcMinPort=20000", "--rtcMaxPort=39999"])
            .env("MEDIASOUP_VERSION", "3.10.0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .fd_mappings(theirs)?;
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        cpu::give_last(child.id())?;
        // It holds the child's ends; only without them the end of the child ends the channels.
        drop(command);

        let (to_answers, answers) = channel();
        thread::spawn(move || {
            let _ = read_frames(responses, |frame| {
                // Everything but JSON is a log line.
                if let Ok(message) = serde_json::from_slice(frame) {
                    let _ = to_answers.send(message);
                }
            });
        });
        thread::spawn(move || {
            let _ = read_frames(payload_events, |_| ());
        });

        let mut worker = Self {
            child,
            requests,
            answers,
            _payloads: payloads,
            next_id: 0,
            port: 0,
        };
        worker.wait_for("the start", |message| message["event"] == "running")?;
        worker.request("worker.createRouter", json!({"routerId": "router"}), None)?;
        worker.port = worker.create_producer()?;
        Ok(worker)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The transport that packets come in by, and their producer. Returns the transport's port.
    fn create_producer(&mut self) -> Result<u16> {
        let internal = json!({"routerId": "router", "transportId": "in"});
        let transport = self.request(
            "router.createPlainTransport",
            internal,
            Some(json!({
                "listenIp": {"ip": "127.0.0.1"},
                "rtcpMux": true,
                "comedia": true,
                "enableSctp": false,
                "enableSrtp": false,
                "isDataChannel": false,
            })),
        )?;
        let port = local_port(&transport)?;
        self.request(
            "transport.produce",
            json!({"routerId": "router", "transportId": "in", "producerId": "producer"}),
            Some(json!({
                "kind": "video",
                "rtpParameters": {
                    "codecs": codecs(),
                    "headerExtensions": [],
                    "encodings": [{"ssrc": rtp::SSRC, "rtx": {"ssrc": rtp::SSRC + 1}}],
                    "rtcp": {"cname": "bench", "reducedSize": true},
                },
                "rtpMapping": {
                    "codecs": [
                        {"payloadType": rtp::PAYLOAD_TYPE, "mappedPayloadType": rtp::PAYLOAD_TYPE},
                        {"payloadType": rtp::PAYLOAD_TYPE + 1, "mappedPayloadType": rtp::PAYLOAD_TYPE + 1},
                    ],
                    "encodings": [{"ssrc": rtp::SSRC, "mappedSsrc": MAPPED_SSRC}],
                },
            })),
        )?;
        Ok(port)
    }

    /// One consumer on a transport of its own, which sends to a loopback port. Returns the transport's port.
    pub fn create_consumer(&mut self, index: usize, port: u16, variant: Variant) -> Result<u16> {
        let internal = json!({"routerId": "router", "transportId": format!("out-{index}")});
        let mut options = json!({
            "listenIp": {"ip": "127.0.0.1"},
            "rtcpMux": true,
            "comedia": false,
            "enableSctp": false,
            "enableSrtp": false,
            "isDataChannel": false,
        });
        let mut remote = json!({"ip": "127.0.0.1", "port": port});
        if let Some((name, key_length)) = variant.protection.suite() {
            options["enableSrtp"] = true.into();
            options["srtpCryptoSuite"] = name.into();
            // The key of the way back, on which nothing is ever sent.
            let key = STANDARD.encode(vec![0x5a; key_length]);
            remote["srtpParameters"] = json!({"cryptoSuite": name, "keyBase64": key});
        }
        let transport = self.request("router.createPlainTransport", internal.clone(), Some(options))?;
        let transport = local_port(&transport)?;
        self.request("transport.connect", internal.clone(), Some(remote))?;
        let mut codecs = codecs();
        let mut extensions = json!([]);
        if variant.reports {
            codecs[0]["rtcpFeedback"] = json!([{"type": "nack"}, {"type": "nack", "parameter": "pli"},
                {"type": "transport-cc"}]);
            extensions = json!([{"uri": TRANSPORT_CC, "id": 5}]);
        }

        let mut internal = internal;
        internal["producerId"] = "producer".into();
        internal["consumerId"] = format!("consumer-{index}").into();
        self.request(
            "transport.consume",
            internal,
            Some(json!({
                "kind": "video",
                "type": "simple",
                "rtpParameters": {
                    "codecs": codecs,
                    "headerExtensions": extensions,
                    "encodings": [{
                        "ssrc": CONSUMER_SSRC + u32::try_from(index)?,
                        "rtx": {"ssrc": CONSUMER_RTX_SSRC + u32::try_from(index)?},
                    }],
                    "rtcp": {"cname": "bench", "reducedSize": true, "mux": true},
                },
                "consumableRtpEncodings": [{"ssrc": MAPPED_SSRC}],
            })),
        )?;
        Ok(transport)
    }

    /// Sends a request and waits for the data of its answer.
    ///
    /// # Errors
    /// It was refused, or the worker is gone.
    pub fn request(&mut self, method: &str, internal: Value, data: Option<Value>) -> Result<Value> {
        self.next_id += 1;
        let id = self.next_id;
        let mut request = json!({"id": id, "method": method, "internal": internal});
        if let Some(data) = data {
            request["data"] = data;
        }
        let body = serde_json::to_vec(&request)?;
        let mut frame = u32::try_from(body.len())?.to_ne_bytes().to_vec();
        frame.extend_from_slice(&body);
        self.requests
            .write_all(&frame)
            .with_context(|| format!("cannot send {method}"))?;

        let mut answer = self.wait_for(method, |message| message["id"] == id)?;
        if answer["accepted"] != true {
            bail!("{method} was refused: {}", answer["reason"]);
        }
        Ok(answer["data"].take())
    }

    /// The next message that fits; all others are dropped.
    fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) if fits(&message) => return Ok(message),
                Ok(_) => (),
                Err(RecvTimeoutError::Timeout) => bail!("no answer to {what} within {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("the worker closed its channel at {what}"),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // `worker.close` has no answer: the process just ends.
        let body = format!(r#"{{"id":{},"method":"worker.close"}}"#, self.next_id + 1);
        let mut frame = (body.len() as u32).to_ne_bytes().to_vec();
        frame.extend_from_slice(body.as_bytes());
        let _ = self.requests.write_all(&frame);
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port of a transport that was created with this answer.
fn local_port(transport: &Value) -> Result<u16> {
    let port = transport["tuple"]["localPort"].as_u64();
    port.and_then(|port| port.try_into().ok())
        .context("the transport has no port")
}

/// The video codec, the same on both sides, as browsers have it: what is sent has to be kept for those who ask for it
/// again, though nobody here does.
fn codecs() -> Value {
    json!([
        {
            "mimeType": "video/VP8",
            "payloadType": rtp::PAYLOAD_TYPE,
            "clockRate": rtp::CLOCK_RATE,
            "parameters": {},
            "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}],
        },
        {
            "mimeType": "video/rtx",
            "payloadType": rtp::PAYLOAD_TYPE + 1,
            "clockRate": rtp::CLOCK_RATE,
            "parameters": {"apt": rtp::PAYLOAD_TYPE},
            "rtcpFeedback": [],
        },
    ])
}

/// Reads frames until the other end is closed.
fn read_frames(mut stream: impl Read, mut take: impl FnMut(&[u8])) -> Result<()> {
    let mut frame = Vec::new();
    loop {
        let mut length = [0; 4];
        match stream.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        }
        let length = u32::from_ne_bytes(length) as usize;
        if length > LARGEST_FRAME {
            bail!("a frame of {length} bytes");
        }
        frame.resize(length, 0);
        stream.read_exact(&mut frame)?;
        take(&frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let mut stream = Vec::new();
        for body in ["one", "", "three"] {
            stream.extend_from_slice(&(body.len() as u32).to_ne_bytes());
            stream.extend_from_slice(body.as_bytes());
        }
        let mut frames = Vec::new();
        read_frames(stream.as_slice(), |frame| frames.push(frame.to_vec())).expect("well-formed");
        assert_eq!(frames, [b"one".to_vec(), Vec::new(), b"three".to_vec()]);
        assert!(read_frames([0xff; 8].as_slice(), |_| ()).is_err());
    }
}
