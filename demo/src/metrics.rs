//! What goes on, as numbers for Prometheus.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use client::{AnyTransport, Transport as _, Worker};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::admission::Admission;
use crate::rooms::Rooms;
use crate::workers::{Slot, Workers};

/// How long an answer is given again: each takes a request for every transport, producer and consumer.
const FRESH: Duration = Duration::from_secs(5);

/// Collects the numbers.
#[derive(Debug)]
pub(crate) struct Metrics {
    rooms: Arc<Rooms>,
    workers: Arc<Workers>,
    admission: Arc<Admission>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, String)>,
    /// By slot.
    totals: Vec<Totals>,
}

/// What all objects of a slot together counted, those that are gone included.
#[derive(Debug, Default)]
struct Totals {
    bytes_received: Total,
    bytes_sent: Total,
    packets_received: Total,
    packets_sent: Total,
}

/// The sum of counters that come and go.
#[derive(Debug, Default)]
struct Total {
    known: HashMap<String, u64>,
    sum: u64,
}

impl Total {
    /// Adds what each counter counted since the last time.
    fn update(&mut self, now: HashMap<String, u64>) -> u64 {
        for (id, value) in &now {
            let before = self.known.get(id).copied().unwrap_or_default();
            self.sum += value.saturating_sub(before);
        }
        self.known = now;
        self.sum
    }
}

/// What is found on a worker at one time.
#[derive(Debug, Default)]
struct Sample {
    transports: usize,
    producers: usize,
    consumers: usize,
    data_producers: usize,
    data_consumers: usize,
    receive_bitrate: u64,
    send_bitrate: u64,
    bytes_received: HashMap<String, u64>,
    bytes_sent: HashMap<String, u64>,
    packets_received: HashMap<String, u64>,
    packets_sent: HashMap<String, u64>,
}

impl Metrics {
    pub(crate) fn new(rooms: &Arc<Rooms>, workers: &Arc<Workers>, admission: &Arc<Admission>) -> Self {
        Self {
            rooms: Arc::clone(rooms),
            workers: Arc::clone(workers),
            admission: Arc::clone(admission),
            state: Mutex::default(),
        }
    }

    /// All numbers, in the text format of Prometheus (version 0.0.4).
    pub(crate) async fn text(&self) -> String {
        let mut state = self.state.lock().await;
        if let Some((at, text)) = &state.last
            && at.elapsed() < FRESH
        {
            return text.clone();
        }
        let mut page = Page::default();
        self.server(&mut page);
        for slot in self.workers.slots() {
            if state.totals.len() <= slot.index {
                state.totals.resize_with(slot.index + 1, Totals::default);
            }
            if let Some(totals) = state.totals.get_mut(slot.index) {
                worker(&mut page, slot, totals).await;
            }
        }
        let text = page.finish();
        state.last = Some((Instant::now(), text.clone()));
        text
    }

    fn server(&self, page: &mut Page) {
        let rooms = self.rooms.all();
        let peers: usize = rooms.iter().map(|room| room.peers.peers().len()).sum();
        let broadcasters: usize = rooms.iter().map(|room| room.broadcasters().len()).sum();
        page.gauge("rooms", "Rooms", "", rooms.len());
        page.gauge("peers", "Peers with a connection", "", peers);
        page.gauge("broadcasters", "Members without a connection", "", broadcasters);
        page.gauge(
            "connections",
            "Connections, WebSockets included",
            "",
            self.admission.count(),
        );
    }
}

async fn worker(page: &mut Page, slot: &Slot, totals: &mut Totals) {
    let label = format!("worker=\"{}\"", slot.index);
    let deaths = slot.deaths.load(Ordering::Relaxed);
    page.counter(
        "worker_deaths_total",
        "Workers that ended by themselves",
        &label,
        deaths,
    );
    let running = slot.running();
    page.gauge(
        "worker_up",
        "Whether the worker runs",
        &label,
        u8::from(running.is_some()),
    );
    page.gauge("members", "Peers and broadcasters", &label, slot.members.get());
    let Some(running) = running else { return };
    if let Ok(usage) = running.worker.get_resource_usage().await {
        for (mode, milliseconds) in [("user", usage.ru_utime), ("system", usage.ru_stime)] {
            let label = format!("{label},mode=\"{mode}\"");
            let seconds = milliseconds as f64 / 1000.0;
            page.counter("worker_cpu_seconds_total", "CPU time of the worker", &label, seconds);
        }
    }
    if let Some(bytes) = resident_bytes(running.worker.pid()) {
        page.gauge("worker_resident_bytes", "Memory of the worker", &label, bytes);
    }
    let sample = sample(&running.worker).await;
    page.gauge("transports", "Transports of members", &label, sample.transports);
    page.gauge("producers", "Producers", &label, sample.producers);
    page.gauge("consumers", "Consumers", &label, sample.consumers);
    page.gauge("data_producers", "Data producers", &label, sample.data_producers);
    page.gauge("data_consumers", "Data consumers", &label, sample.data_consumers);
    page.gauge(
        "receive_bitrate",
        "Received from members, in bit/s",
        &label,
        sample.receive_bitrate,
    );
    page.gauge("send_bitrate", "Sent to members, in bit/s", &label, sample.send_bitrate);
    for (name, help, total, now) in [
        (
            "received_bytes_total",
            "Bytes from members",
            &mut totals.bytes_received,
            sample.bytes_received,
        ),
        (
            "sent_bytes_total",
            "Bytes to members",
            &mut totals.bytes_sent,
            sample.bytes_sent,
        ),
        (
            "received_packets_total",
            "RTP packets of producers",
            &mut totals.packets_received,
            sample.packets_received,
        ),
        (
            "sent_packets_total",
            "RTP packets to consumers",
            &mut totals.packets_sent,
            sample.packets_sent,
        ),
    ] {
        page.counter(name, help, &label, total.update(now));
    }
}

/// Asks the worker about all that members have. What goes between workers or to the bot is no member's.
async fn sample(worker: &Worker) -> Sample {
    let mut sample = Sample::default();
    let all = worker.routers().into_iter().flat_map(|router| router.transports());
    for transport in all.filter(|t| matches!(t, AnyTransport::WebRtc(_) | AnyTransport::Plain(_))) {
        sample.add(&transport).await;
    }
    sample
}

impl Sample {
    async fn add(&mut self, transport: &AnyTransport) {
        self.transports += 1;
        self.data_producers += transport.data_producers().len();
        self.data_consumers += transport.data_consumers().len();
        // What ends meanwhile is left out.
        for stats in transport.get_stats().await.unwrap_or_default() {
            self.receive_bitrate += u64::from(stats.recv_bitrate);
            self.send_bitrate += u64::from(stats.send_bitrate);
            self.bytes_received
                .insert(stats.transport_id.clone(), stats.bytes_received);
            self.bytes_sent.insert(stats.transport_id, stats.bytes_sent);
        }
        let (producers, consumers) = (transport.producers(), transport.consumers());
        self.producers += producers.len();
        self.consumers += consumers.len();
        // All asked at once, since the worker answers one after the other anyway.
        let mut asked: FuturesUnordered<_> = producers
            .iter()
            .map(|producer| async { (producer.id(), producer.get_stats().await.unwrap_or_default()) })
            .collect();
        while let Some((id, stats)) = asked.next().await {
            let packets = stats.iter().map(|stream| stream.packet_count).sum();
            self.packets_received.insert(id.to_owned(), packets);
        }
        let mut asked: FuturesUnordered<_> = consumers
            .iter()
            .map(|consumer| async { (consumer.id(), consumer.get_stats().await.unwrap_or_default()) })
            .collect();
        while let Some((id, stats)) = asked.next().await {
            let own = stats.iter().filter(|stream| stream.stats_type == "outbound-rtp");
            self.packets_sent
                .insert(id.to_owned(), own.map(|stream| stream.packet_count).sum());
        }
    }
}

/// What Linux tells of a process; elsewhere nothing.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Metrics with their samples, each under its head.
#[derive(Debug, Default)]
struct Page {
    /// In the order in which they first came: name, and head with samples.
    metrics: Vec<(&'static str, String)>,
}

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str, labels: &str, value: impl std::fmt::Display) {
        self.sample(name, help, "gauge", labels, &value);
    }

    fn counter(&mut self, name: &'static str, help: &str, labels: &str, value: impl std::fmt::Display) {
        self.sample(name, help, "counter", labels, &value);
    }

    fn sample(&mut self, name: &'static str, help: &str, kind: &str, labels: &str, value: &dyn std::fmt::Display) {
        let index = self.metrics.iter().position(|(known, _)| *known == name);
        let index = index.unwrap_or_else(|| {
            let head = format!("# HELP sluice_{name} {help}.\n# TYPE sluice_{name} {kind}\n");
            self.metrics.push((name, head));
            self.metrics.len() - 1
        });
        if let Some((_, text)) = self.metrics.get_mut(index) {
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{labels}}}")
            };
            let _ = writeln!(text, "sluice_{name}{labels} {value}");
        }
    }

    fn finish(self) -> String {
        self.metrics.into_iter().map(|(_, text)| text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_grow_whatever_comes_and_goes() {
        let counters = |pairs: &[(&str, u64)]| pairs.iter().map(|(id, value)| ((*id).to_owned(), *value)).collect();
        let mut total = Total::default();
        assert_eq!(total.update(counters(&[("a", 5), ("b", 1)])), 6);
        assert_eq!(total.update(counters(&[("a", 7)])), 8);
        assert_eq!(total.update(counters(&[])), 8);
        assert_eq!(total.update(counters(&[("c", 3)])), 11);
        assert_eq!(total.known.len(), 1);
    }

    #[test]
    fn samples_of_a_metric_stay_together() {
        let mut page = Page::default();
        page.gauge("rooms", "Rooms", "", 1);
        page.counter("deaths_total", "Deaths", "worker=\"0\"", 2);
        page.gauge("rooms", "Rooms", "worker=\"1\"", 3);
        let expected = "# HELP sluice_rooms Rooms.\n# TYPE sluice_rooms gauge\nsluice_rooms 1\n\
                        sluice_rooms{worker=\"1\"} 3\n# HELP sluice_deaths_total Deaths.\n\
                        # TYPE sluice_deaths_total counter\nsluice_deaths_total{worker=\"0\"} 2\n";
        assert_eq!(page.finish(), expected);
    }
}
