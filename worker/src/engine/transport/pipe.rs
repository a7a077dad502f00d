//! A pipe: RTP over UDP between two routers, which may be of two workers on two hosts.
//!
//! Like a plain transport with one socket, whose remote end the parent tells.

use channel_proto::command::{Connect, CreatePipeTransport, Field, InvalidArguments};
use channel_proto::reply::{Connected, Failure, TransportKindDump, TransportStats};
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use rand::RngCore;

use super::plain::{Opening, Plain};
use crate::engine::ports::Ports;

/// The only suite of pipes.
const SUITE: SrtpCryptoSuite = SrtpCryptoSuite::AeadAes256Gcm;

/// A pipe transport.
#[derive(Debug)]
pub struct Pipe {
    /// What carries it.
    pub plain: Plain,
    /// Whether the client negotiates retransmission on it.
    rtx: bool,
}

impl Pipe {
    /// Opens the socket.
    ///
    /// # Errors
    /// `Error` if it cannot be opened.
    pub fn open(options: &CreatePipeTransport, ports: &mut dyn Ports, rng: &mut dyn RngCore) -> Result<Self, Failure> {
        let opening = Opening {
            listen_ip: &options.listen_ip,
            port: options.port,
            rtcp_mux: true,
            comedia: false,
            srtp_crypto_suite: options.enable_srtp.then_some(SUITE),
        };
        Ok(Self {
            plain: Plain::open_as(&opening, ports, rng)?,
            rtx: options.enable_rtx,
        })
    }

    /// `transport.connect`.
    ///
    /// # Errors
    /// `Error` the second time, `TypeError` for fields that are missing or wrong. Nothing has changed then.
    pub fn connect(&mut self, mut connect: Connect, rng: &mut dyn RngCore) -> Result<Connected, Failure> {
        connect.rtcp_port = Field::Absent;
        if let Field::Present(parameters) = &connect.srtp_parameters
            && parameters.crypto_suite != SUITE
            && self.plain.srtp_parameters().is_some()
        {
            let wrong = InvalidArguments::new("invalid/unsupported srtpParameters.cryptoSuite");
            connect.srtp_parameters = Field::Invalid(wrong);
        }
        let connected = self.plain.connect(connect, rng)?;
        Ok(Connected {
            tuple: connected.tuple,
            ..Connected::default()
        })
    }

    /// What it adds to the dump.
    pub fn dump(&self) -> TransportKindDump {
        TransportKindDump::Pipe {
            tuple: self.plain.tuple(),
            rtx: self.rtx,
            srtp_parameters: self.plain.srtp_parameters(),
        }
    }

    /// What it adds to the stats.
    pub fn fill_stats(&self, stats: &mut TransportStats) {
        stats.kind = "pipe-transport".to_owned();
        stats.tuple = Some(self.plain.tuple());
    }
}
