//! A peer of a WebRTC transport that does its DTLS handshake, in a thread of its own.

use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use worker::dtls::{Association, Certificate, Connected, Event, Role};

use crate::recording::{Recording, text};

/// Longest time without looking at the clock.
const STEP: Duration = Duration::from_millis(100);

/// What a handshake agreed on, as `srtpParameters` of both directions.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Name of the suite.
    pub suite: &'static str,
    /// Key and salt of what the peer sends, base64.
    pub local: String,
    /// Key and salt of what the worker sends, base64.
    pub remote: String,
}

enum Command {
    Packet(Vec<u8>),
    Close,
}

/// A running peer. Dropping it ends it without a word to the worker.
#[derive(Debug)]
pub struct DtlsPeer {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl DtlsPeer {
    /// Starts a handshake with the certificate of the recordings. `send` gets the peer's packets, `connected` the keys.
    ///
    /// # Errors
    /// There is no such certificate.
    pub fn start<S, C>(role: Role, send: S, connected: C) -> anyhow::Result<Self>
    where
        S: Fn(&[u8]) + Send + 'static,
        C: Fn(Keys) + Send + 'static,
    {
        let (certificate, key) = recorded_certificate()?;
        let (commands, incoming) = channel();
        let thread = thread::spawn(move || {
            let certificate = Certificate::from_pem(&certificate, &key).expect("the recorded certificate");
            run(Rc::new(certificate), role, &incoming, send, connected);
        });
        Ok(Self {
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// Hands it a packet of the worker.
    pub fn receive(&self, packet: &[u8]) {
        self.command(Command::Packet(packet.to_vec()));
    }

    /// Lets it end the connection.
    pub fn close(&self) {
        self.command(Command::Close);
    }

    fn command(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A peer that has ended needs nothing.
            let _ = commands.send(command);
        }
    }
}

impl Drop for DtlsPeer {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    certificate: Rc<Certificate>,
    role: Role,
    incoming: &Receiver<Command>,
    send: impl Fn(&[u8]),
    connected: impl Fn(Keys),
) {
    let started = Instant::now();
    let now = || started.elapsed().as_micros() as u64;
    let mut association = Association::new(certificate, role, now());
    loop {
        while let Some(packet) = association.poll_output() {
            send(&packet);
        }
        while let Some(event) = association.poll_event() {
            if let Event::Connected(outcome) = event {
                connected(keys(&outcome));
            }
        }
        match incoming.recv_timeout(STEP) {
            Ok(Command::Packet(packet)) => association.handle(&packet, now()),
            Ok(Command::Close) => association.close(now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        association.handle_timeout(now());
    }
}

fn keys(outcome: &Connected) -> Keys {
    Keys {
        suite: outcome.suite.as_str(),
        local: STANDARD.encode(&outcome.local_key),
        remote: STANDARD.encode(&outcome.remote_key),
    }
}

/// Certificate and key that the recorder's peers had: those of the recording about certificate files.
fn recorded_certificate() -> anyhow::Result<(String, String)> {
    let recording = Recording::load("03-process-dtls-files")?;
    let files = recording.lines.iter().find(|line| line.step() == "files");
    let files = &files.context("no files")?.value["files"];
    let file = |name: &str| text(files, name).to_owned();
    Ok((file("<TMP>/cert.pem"), file("<TMP>/key.pem")))
}
