//! A whole engine: what the parent writes, what peers send, and time, all chosen by the input.

mod setup;
mod world;

use crate::cursor::Cursor;
use setup::{Check, ice_credentials, listen, room};
use world::{SINK, World};

/// Requests of the parent, one in each line: whatever they are, each gets one answer, and closing leaves no socket.
pub fn commands(data: &[u8]) {
    let mut world = World::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        world.frame(line);
        world.wait(10_000);
    }
    world.end();
}

/// Packets in the clear to a room in which each codec has a producer and consumers that can ask for packets again.
pub fn media(data: &[u8]) {
    forward(data);
}

/// Returns how many bytes went out.
fn forward(data: &[u8]) -> u64 {
    let mut input = Cursor(data);
    let mut world = World::new();
    room(&mut world);
    for _ in 0..256 {
        if input.is_empty() {
            break;
        }
        match input.byte() {
            // The senders, their receivers, a pipe.
            0 => world.datagram(1, 0, input.piece()),
            1 => world.datagram(2, SINK, input.piece()),
            2 => world.datagram(3, SINK + 1, input.piece()),
            3 => {
                let batch = [input.piece(), input.piece(), input.piece()];
                world.datagrams(1, 0, &batch);
            }
            4 => {
                let layers = input.byte();
                world.prefer_layers(layers >> 4 & 3, layers & 3);
            }
            wait => world.wait(u64::from(wait) * 4_000),
        }
    }
    world.dump();
    world.end()
}

/// Packets of strangers, and of a peer that knows the credentials, to a WebRTC transport and a WebRtcServer.
pub fn webrtc(data: &[u8]) {
    check(data);
}

fn check(data: &[u8]) -> u64 {
    let mut input = Cursor(data);
    let mut world = World::new();
    let transports = listen(&mut world);
    let credentials = transports.map(|dump| ice_credentials(&dump));
    for _ in 0..128 {
        if input.is_empty() {
            break;
        }
        let control = input.byte();
        let (socket, port) = (u32::from(control & 3) + 1, 7000 + u16::from(control >> 2 & 3));
        match control >> 4 {
            0..=4 => world.datagram(socket, port, input.piece()),
            5..=9 => {
                let credentials = &credentials[usize::from(control & 1)];
                let check = Check {
                    credentials,
                    attributes: input.piece(),
                    signed: control & 0x80 == 0,
                };
                world.datagram(socket, port, &check.bytes());
            }
            10 => world.connect(socket, port),
            11 => world.disconnect(port),
            12 => world.restart_ice(),
            wait => world.wait(u64::from(wait) * u64::from(input.short()) * 100),
        }
    }
    world.dump();
    world.end()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    fn seed(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        fs::read(path).expect("a seed")
    }

    #[test]
    fn the_room_forwards_what_the_seeds_send() {
        for (name, least) in [
            ("simulcast", 1000),
            ("svc", 500),
            ("av1", 100),
            ("h264-rtx", 100),
            ("opus", 500),
        ] {
            let sent = super::forward(&seed(&format!("media/{name}")));
            assert!(sent > least, "{name}: {sent}");
        }
    }

    #[test]
    fn only_those_who_know_the_password_get_an_answer() {
        assert!(super::check(&seed("webrtc/checked")) > 0);
        assert_eq!(super::check(&seed("webrtc/unchecked")), 0);
        assert_eq!(super::check(&seed("webrtc/wrong-key")), 0);
    }
}
