//! The replay list of one SSRC (RFC 3711 section 3.3.2).

/// Packets that may arrive behind the newest one and still be told apart from replays.
pub(super) const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// Which of the last [`WINDOW`] indices have been received. Bits are kept in a ring, so nothing is shifted.
#[derive(Debug, Clone)]
pub(super) struct ReplayWindow {
    highest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// A window whose newest packet is `index`.
    pub(super) fn starting_at(index: u64) -> Self {
        let mut window = Self {
            highest: index,
            seen: [0; WORDS],
        };
        window.mark(index);
        window
    }

    /// The highest index received.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a packet of this index is new.
    pub(super) fn accepts(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(age) if age >= WINDOW => false,
            Some(_) => {
                let (word, bit) = place(index);
                self.seen.get(word).is_some_and(|bits| bits & bit == 0)
            }
        }
    }

    /// Notes that the packet of this index, which [`accepts`](Self::accepts) let through, proved authentic.
    pub(super) fn record(&mut self, index: u64) {
        if let Some(ahead) = index.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            if ahead >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.highest + 1..index {
                    self.clear(skipped);
                }
            }
            self.highest = index;
        }
        self.mark(index);
    }

    fn mark(&mut self, index: u64) {
        let (word, bit) = place(index);
        if let Some(bits) = self.seen.get_mut(word) {
            *bits |= bit;
        }
    }

    fn clear(&mut self, index: u64) {
        let (word, bit) = place(index);
        if let Some(bits) = self.seen.get_mut(word) {
            *bits &= !bit;
        }
    }
}

/// Word and bit of an index in the ring.
fn place(index: u64) -> (usize, u64) {
    ((index % WINDOW / 64) as usize, 1 << (index % 64))
}
