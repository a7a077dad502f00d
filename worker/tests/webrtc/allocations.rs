//! Forwarding between WebRTC transports, and answering checks, does not touch the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use serde_json::json;
use worker::engine::Datagram;

use crate::peer::Peer;
use crate::world::{World, peer};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands everything to the system allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LISTENERS: u32 = 10;
const BURST: usize = 10;

/// Lets the engine have bursts of packets, which must all be made before; returns how often it allocated.
fn allocations(world: &mut World, peer: &Peer, bursts: &mut [Vec<Vec<u8>>]) -> usize {
    let before = ALLOCATIONS.get();
    for burst in bursts {
        world.now += 20_000;
        let mut packets = burst.iter_mut();
        let mut datagrams: [Datagram<'_>; BURST] = std::array::from_fn(|_| Datagram {
            source: peer.address,
            bytes: packets.next().unwrap(),
        });
        world.handle(peer.socket, &mut datagrams);
    }
    ALLOCATIONS.get() - before
}

#[test]
fn forwarding_allocates_nothing() {
    let mut world = World::new();
    let mut speaker = Peer::connected(&mut world, "in", 1, peer(1));
    speaker.produce(&mut world, 5);
    for number in 2..2 + LISTENERS {
        let listener = Peer::connected(&mut world, &format!("t{number}"), number, peer(number as u16));
        listener.consume(&mut world, 5, 50 + number);
    }
    let mut bursts: Vec<Vec<Vec<u8>>> = (0..300)
        .map(|burst| {
            let sequences = burst * BURST as u16..(burst + 1) * BURST as u16;
            sequences.map(|sequence| speaker.rtp(5, sequence, 1000)).collect()
        })
        .collect();
    world.network.counting = true;
    let (first, rest) = bursts.split_at_mut(100);
    assert!(
        allocations(&mut world, &speaker, first) > 0,
        "setting up allocates, so the counter counts"
    );
    let counted = world.network.counted;
    assert_eq!(allocations(&mut world, &speaker, rest), 0);
    assert_eq!(
        world.network.counted - counted,
        rest.len() * BURST * LISTENERS as usize,
        "all packets go to all"
    );
}

#[test]
fn answering_checks_allocates_nothing() {
    let mut world = World::new();
    let listener = Peer::new(&mut world, "t", 1, peer(1));
    world.network.counting = true;
    let check = listener.transport.nominate();
    let stranger = listener.transport.check_with(&[], "guess");
    let mut bursts = vec![vec![check; BURST], vec![stranger; BURST]];
    allocations(&mut world, &listener, &mut bursts);
    world.told.clear();
    assert_eq!(allocations(&mut world, &listener, &mut bursts), 0);
    assert_eq!(world.network.counted, 2 * BURST);
    assert_eq!(
        world.request("transport.getStats", crate::world::internal("t"), json!({}))[0]["iceState"],
        "completed"
    );
}
