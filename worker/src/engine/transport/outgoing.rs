//! Writing packets of consumers.

use std::net::SocketAddr;

use crate::bwe::{Carried, Outgoing};
use crate::engine::mangle::{Form, ForwardedPacket, Rewrite};
use crate::engine::outbox::Outbox;
use crate::engine::ports::SocketId;
use crate::srtp::{SrtpError, SrtpSender};

/// What became of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Its bytes before encryption.
    pub size: usize,
    /// Its bytes as they leave.
    pub wire_size: usize,
    /// The last four of these, if it is encrypted.
    pub tail: Option<[u8; 4]>,
    /// Its number among all packets of the transport, 0 if these are not counted.
    pub wide_sequence_number: u16,
}

/// Appends a packet to a buffer as it leaves: encrypted, if there is someone to do that. After an error nothing of it
/// must be sent.
///
/// # Errors
/// Its SRTP index has been used for other bytes, or the key is worn out.
pub fn write_packet(
    packet: &ForwardedPacket,
    rewrite: &Rewrite,
    received: &[u8],
    srtp: Option<&mut SrtpSender>,
    buffer: &mut Vec<u8>,
) -> Result<Sent, SrtpError> {
    let start = buffer.len();
    packet.write(rewrite, received, buffer);
    let mut tail = None;
    if let Some(srtp) = srtp {
        match rewrite.form {
            Form::First | Form::Rtx { .. } => srtp.protect_rtp(buffer, start, packet.header_length())?,
            Form::Again { tail } => srtp.protect_rtp_again(buffer, start, packet.header_length(), tail)?,
        }
        tail = buffer.last_chunk().copied();
    }
    Ok(Sent {
        size: packet.size_as(rewrite),
        wire_size: buffer.len() - start,
        tail,
        wide_sequence_number: rewrite.wide_sequence_number,
    })
}

/// Who counts a packet, and what is in it.
pub type Counter<'a> = Option<(&'a mut Outgoing, Option<Carried>)>;

/// Sends the datagram that was begun at `start` in the outbox; if it is counted, maybe later.
pub fn hand_over(
    outbox: &mut Outbox,
    start: usize,
    (socket, remote): (SocketId, SocketAddr),
    counter: Counter<'_>,
    now: u64,
) {
    if let Some((outgoing, carried)) = counter {
        let datagram = outbox.written(start);
        if outgoing.must_wait(now) {
            outgoing.wait(datagram, carried, now);
            outbox.abandon(start);
            return;
        }
        outgoing.left(datagram.len(), carried, now);
    }
    outbox.commit(start, socket, remote);
}
