//! When to ask the sender of a video for a key frame, so that many askers make few requests.

use smallvec::SmallVec;

/// Patience with an unanswered request, in microseconds.
const PATIENCE: u64 = 1_000_000;

/// Requests for the streams of one producer. Times are microseconds of a monotonic clock.
#[derive(Debug, Clone, Default)]
pub struct KeyFrameRequests {
    /// Time between two requests of one stream, 0 for no minimum.
    delay: u64,
    streams: SmallVec<[Stream; 3]>,
}

#[derive(Debug, Clone)]
struct Stream {
    ssrc: u32,
    /// An unanswered request.
    pending: Option<Pending>,
    delayer: Option<Delayer>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    until: u64,
    /// Ask again when it expires.
    retry: bool,
}

#[derive(Debug, Clone, Copy)]
struct Delayer {
    until: u64,
    /// A key frame was needed meanwhile.
    needed: bool,
}

impl KeyFrameRequests {
    /// With at least `delay_ms` milliseconds between two requests, unless forced.
    pub fn new(delay_ms: u32) -> Self {
        Self {
            delay: u64::from(delay_ms) * 1000,
            streams: SmallVec::new(),
        }
    }

    fn stream(&mut self, ssrc: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.ssrc == ssrc)
    }

    fn stream_or_new(&mut self, ssrc: u32) -> Option<&mut Stream> {
        if self.stream(ssrc).is_none() {
            self.streams.push(Stream {
                ssrc,
                pending: None,
                delayer: None,
            });
        }
        self.streams.iter_mut().find(|stream| stream.ssrc == ssrc)
    }

    /// Somebody needs a key frame. True: send a request now.
    pub fn needed(&mut self, ssrc: u32, now: u64) -> bool {
        let delay = self.delay;
        let Some(stream) = self.stream_or_new(ssrc) else {
            return false;
        };
        if delay > 0 {
            if let Some(delayer) = &mut stream.delayer {
                delayer.needed = true;
                return false;
            }
            stream.delayer = Some(Delayer {
                until: now + delay,
                needed: false,
            });
        }
        stream.request(now)
    }

    /// A key frame is needed, whatever was requested before. True, for it is always sent.
    pub fn force_needed(&mut self, ssrc: u32, now: u64) -> bool {
        let delay = self.delay;
        let Some(stream) = self.stream_or_new(ssrc) else {
            return false;
        };
        if delay > 0 {
            stream.delayer = Some(Delayer {
                until: now + delay,
                needed: false,
            });
        }
        stream.pending = Some(Pending {
            until: now + PATIENCE,
            retry: true,
        });
        true
    }

    /// A key frame came.
    pub fn received(&mut self, ssrc: u32) {
        if let Some(stream) = self.stream(ssrc) {
            stream.pending = None;
        }
        self.streams.retain(|stream| !stream.is_idle());
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        let deadlines = self.streams.iter().flat_map(|stream| {
            [
                stream.pending.map(|pending| pending.until),
                stream.delayer.map(|delayer| delayer.until),
            ]
        });
        deadlines.flatten().min()
    }

    /// Time has passed. Calls `send` with every SSRC that a request is to be sent for.
    pub fn on_timeout(&mut self, now: u64, send: &mut impl FnMut(u32)) {
        let delay = self.delay;
        for stream in &mut self.streams {
            if let Some(pending) = stream.pending.filter(|pending| pending.until <= now) {
                stream.pending = pending.retry.then_some(Pending {
                    until: now + PATIENCE,
                    retry: false,
                });
                if pending.retry {
                    send(stream.ssrc);
                }
            }
            if let Some(delayer) = stream.delayer.filter(|delayer| delayer.until <= now) {
                stream.delayer = delayer.needed.then_some(Delayer {
                    until: now + delay,
                    needed: false,
                });
                if delayer.needed && stream.request(now) {
                    send(stream.ssrc);
                }
            }
        }
        self.streams.retain(|stream| !stream.is_idle());
    }
}

impl Stream {
    /// True: send.
    fn request(&mut self, now: u64) -> bool {
        if let Some(pending) = &mut self.pending {
            pending.retry = true;
            return false;
        }
        self.pending = Some(Pending {
            until: now + PATIENCE,
            retry: true,
        });
        true
    }

    fn is_idle(&self) -> bool {
        self.pending.is_none() && self.delayer.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn expire(requests: &mut KeyFrameRequests, now: u64) -> Vec<u32> {
        let mut sent = Vec::new();
        requests.on_timeout(now, &mut |ssrc| sent.push(ssrc));
        sent
    }

    #[test]
    fn an_unanswered_request_is_repeated_once() {
        let mut requests = KeyFrameRequests::new(0);
        assert!(requests.needed(1, 0));
        assert!(!requests.needed(1, 10));
        assert_eq!(requests.next_deadline(), Some(SECOND));
        assert_eq!(expire(&mut requests, SECOND), [1]);
        assert!(expire(&mut requests, 2 * SECOND).is_empty());
        assert_eq!(requests.next_deadline(), None);
        assert!(requests.needed(1, 2 * SECOND));
        requests.received(1);
        assert_eq!(requests.next_deadline(), None);
        assert!(requests.needed(1, 2 * SECOND));
    }

    #[test]
    fn a_delay_joins_requests() {
        let mut requests = KeyFrameRequests::new(400);
        assert!(requests.needed(7, 0));
        requests.received(7);
        assert!(!requests.needed(7, 100_000));
        assert_eq!(requests.next_deadline(), Some(400_000));
        assert_eq!(expire(&mut requests, 400_000), [7]);
        assert!(requests.force_needed(7, 500_000));
        assert!(requests.force_needed(7, 500_001));
    }
}
