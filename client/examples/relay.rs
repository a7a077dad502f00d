//! Relays a test picture and a tone through a worker, and records what comes out.
//!
//! One ffmpeg sends VP8 and Opus to two plain transports, another one records what two more plain transports send.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use client::{
    Consumer, ConsumerOptions, MediaKind, PlainConnectOptions, PlainTransport, PlainTransportOptions, Producer,
    ProducerOptions, Router, RouterOptions, RtpCapabilities, RtpCodecCapability, RtpCodecParameters,
    RtpEncodingParameters, RtpParameters, RtpStreamStats, Transport, Worker, WorkerSettings,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AUDIO: Stream = Stream {
    kind: MediaKind::Audio,
    payload_type: 111,
    ssrc: 1111,
};
const VIDEO: Stream = Stream {
    kind: MediaKind::Video,
    payload_type: 112,
    ssrc: 2222,
};

/// Relays a test picture and a tone through a worker, and records what comes out.
#[derive(Parser)]
struct Arguments {
    /// File to record to.
    #[arg(long, default_value = "relay.webm")]
    output: PathBuf,
    /// How long to record; Ctrl-C ends it earlier.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The worker's program, if it is not next to this one.
    #[arg(long)]
    worker: Option<PathBuf>,
}

/// What the sending ffmpeg is told to send.
struct Stream {
    kind: MediaKind,
    payload_type: u8,
    ssrc: u32,
}

/// One medium on its way through the router.
struct Relayed {
    name: &'static str,
    ingest: PlainTransport,
    producer: Producer,
    consumer: Consumer,
    /// Where the recording ffmpeg expects it; RTCP goes to the port after it.
    port: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(log_filter())
        .init();
    check_ffmpeg().await?;

    let worker = Worker::new(WorkerSettings {
        binary: arguments.worker,
        ..WorkerSettings::default()
    })
    .await?;
    let codecs = vec![codec(MediaKind::Audio), codec(MediaKind::Video)];
    let router = worker.create_router(RouterOptions::new(codecs)).await?;
    let audio = relay("audio", &router, &AUDIO).await?;
    let video = relay("video", &router, &VIDEO).await?;

    let mut sender = start_sender(&audio.ingest, &video.ingest)?;
    let directory = tempfile::tempdir()?;
    let description = directory.path().join("relay.sdp");
    std::fs::write(&description, sdp(&audio, &video))?;
    let mut recorder = start_recorder(&description, &arguments.output)?;
    wait_until_bound(&mut recorder, &[audio.port, video.port]).await?;
    // Only now: a resumed consumer asks for a key frame, and the recorder can use none that it misses.
    audio.consumer.resume().await?;
    video.consumer.resume().await?;

    let relayed = [&audio, &video];
    let deadline = Instant::now() + Duration::from_secs(arguments.seconds);
    tokio::select! {
        () = sleep_until(deadline) => {}
        result = tokio::signal::ctrl_c() => result?,
        result = report(&worker, &relayed) => result?,
        status = sender.wait() => bail!("the sending ffmpeg ended: {}", status?),
        status = recorder.wait() => bail!("the recording ffmpeg ended: {}", status?),
    }
    // The recorder first: it must not wait for packets that never come.
    stop(&mut recorder).await?;
    stop(&mut sender).await?;
    worker.close();
    worker.wait().await;
    let size = std::fs::metadata(&arguments.output).map(|file| file.len()).unwrap_or(0);
    if size == 0 {
        bail!("nothing was recorded");
    }
    println!("recorded {size} bytes to {}", arguments.output.display());
    Ok(())
}

fn log_filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into())
}

async fn check_ffmpeg() -> anyhow::Result<()> {
    let version = Command::new("ffmpeg")
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .await;
    match version {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("this example needs ffmpeg with libvpx and libopus; try `apt-get install ffmpeg`"),
    }
}

fn codec(kind: MediaKind) -> RtpCodecCapability {
    match kind {
        MediaKind::Audio => RtpCodecCapability::audio("audio/opus", 48_000, 2),
        MediaKind::Video => RtpCodecCapability::video("video/VP8"),
    }
}

/// A producer on a transport of its own, and a paused consumer of it on another one.
async fn relay(name: &'static str, router: &Router, stream: &Stream) -> anyhow::Result<Relayed> {
    // ffmpeg sends RTCP from and to ports of their own.
    let options = PlainTransportOptions {
        rtcp_mux: false,
        ..PlainTransportOptions::new(LOCALHOST)
    };
    let ingest = router
        .create_plain_transport(PlainTransportOptions {
            comedia: true,
            ..options.clone()
        })
        .await?;
    let RtpCodecCapability {
        mime_type,
        clock_rate,
        channels,
        ..
    } = codec(stream.kind);
    let parameters = RtpParameters {
        codecs: vec![RtpCodecParameters {
            mime_type,
            payload_type: stream.payload_type,
            clock_rate,
            channels,
            parameters: Default::default(),
            rtcp_feedback: Vec::new(),
        }],
        encodings: vec![RtpEncodingParameters {
            ssrc: Some(stream.ssrc),
            ..Default::default()
        }],
        ..Default::default()
    };
    let producer = ingest.produce(ProducerOptions::new(stream.kind, parameters)).await?;

    let egress = router.create_plain_transport(options).await?;
    let port = free_port_pair()?;
    egress
        .connect(PlainConnectOptions {
            ip: Some(LOCALHOST),
            port: Some(port),
            rtcp_port: Some(port + 1),
            srtp_parameters: None,
        })
        .await?;
    // A plain receiver: neither retransmission nor header extensions.
    let RtpCapabilities { mut codecs, .. } = router.rtp_capabilities().clone();
    codecs.retain(|codec| codec.mime_type != "video/rtx");
    let capabilities = RtpCapabilities {
        codecs,
        header_extensions: Vec::new(),
    };
    let options = ConsumerOptions {
        paused: true,
        ..ConsumerOptions::new(producer.id(), capabilities)
    };
    let consumer = egress.consume(options).await?;
    Ok(Relayed {
        name,
        ingest,
        producer,
        consumer,
        port,
    })
}

/// An even port that is free together with the one after it.
fn free_port_pair() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let port = UdpSocket::bind((LOCALHOST, 0))?.local_addr()?.port() & !1;
        if UdpSocket::bind((LOCALHOST, port)).is_ok() && UdpSocket::bind((LOCALHOST, port + 1)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no two adjacent UDP ports are free")
}

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // Ctrl-C in a terminal is for us: ffmpeg is told to end when it is time.
    command.process_group(0);
    command
}

fn start_sender(audio: &PlainTransport, video: &PlainTransport) -> anyhow::Result<Child> {
    let rtp = |transport: &PlainTransport, stream: &Stream| {
        let rtp = transport.tuple();
        let rtcp = transport.rtcp_tuple().context("no RTCP port")?;
        let (payload_type, ssrc) = (stream.payload_type, stream.ssrc);
        let url = format!(
            "rtp://127.0.0.1:{}?rtcpport={}&pkt_size=1200",
            rtp.local_port, rtcp.local_port
        );
        let options = format!("-f rtp -payload_type {payload_type} -ssrc {ssrc} {url}");
        anyhow::Ok(options.split(' ').map(str::to_owned).collect::<Vec<_>>())
    };
    let mut command = ffmpeg();
    command.args("-re -f lavfi -i testsrc2=size=640x360:rate=30".split(' '));
    command.args("-re -f lavfi -i sine=frequency=440:sample_rate=48000".split(' '));
    // A key frame every second, since ffmpeg does not make one when it is asked to.
    command.args("-map 0:v -c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M -g 30".split(' '));
    command.args(rtp(video, &VIDEO)?);
    command
        .args("-map 1:a -c:a libopus -b:a 64k -ac 2".split(' '))
        .args(rtp(audio, &AUDIO)?);
    // It prints a description of the session, which we know.
    command.stdout(Stdio::null());
    command.spawn().context("cannot start ffmpeg")
}

fn start_recorder(description: &Path, output: &Path) -> anyhow::Result<Child> {
    let mut command = ffmpeg();
    command
        .args(["-y", "-protocol_whitelist", "file,udp,rtp", "-i"])
        .arg(description);
    command.args(["-c", "copy"]).arg(output);
    command.spawn().context("cannot start ffmpeg")
}

/// What the recorder is told to expect.
fn sdp(audio: &Relayed, video: &Relayed) -> String {
    let mut text = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=relay\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n".to_owned();
    for (medium, Relayed { consumer, port, .. }) in [("audio", audio), ("video", video)] {
        let codec = &consumer.rtp_parameters().codecs[0];
        let payload_type = codec.payload_type;
        let name = codec.mime_type.split_once('/').map_or("", |(_, name)| name);
        let channels = codec
            .channels
            .map(|channels| format!("/{channels}"))
            .unwrap_or_default();
        text += &format!("m={medium} {port} RTP/AVP {payload_type}\r\n");
        text += &format!("a=rtpmap:{payload_type} {name}/{}{channels}\r\n", codec.clock_rate);
    }
    text
}

/// Waits until the recorder listens on these ports.
async fn wait_until_bound(recorder: &mut Child, ports: &[u16]) -> anyhow::Result<()> {
    for _ in 0..100 {
        if let Some(status) = recorder.try_wait()? {
            bail!("the recording ffmpeg ended: {status}");
        }
        if ports.iter().all(|port| UdpSocket::bind((LOCALHOST, *port)).is_err()) {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("the recording ffmpeg does not listen")
}

/// Prints figures every second, for ever.
async fn report(worker: &Worker, relayed: &[&Relayed]) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<(Instant, i64)> = None;
    loop {
        ticks.tick().await;
        let usage = worker.get_resource_usage().await?;
        let (now, cpu) = (Instant::now(), usage.ru_utime + usage.ru_stime);
        let mut line = String::new();
        for Relayed {
            name,
            producer,
            consumer,
            ..
        } in relayed
        {
            let (received, sent) = (producer.get_stats().await?, consumer.get_stats().await?);
            let sent = sent
                .into_iter()
                .filter(|stats| stats.stats_type == "outbound-rtp")
                .collect::<Vec<_>>();
            line += &format!("{name} in {} out {} | ", figures(&received), figures(&sent));
        }
        if let Some((before, cpu_before)) = last.replace((now, cpu)) {
            let percent = (cpu - cpu_before) as f64 / (now - before).as_millis().max(1) as f64 * 100.0;
            println!("{line}worker CPU {percent:.1} %");
        }
    }
}

fn figures(streams: &[RtpStreamStats]) -> String {
    let packets: u64 = streams.iter().map(|stats| stats.packet_count).sum();
    let bitrate: u32 = streams.iter().map(|stats| stats.bitrate).sum();
    format!("{packets} packets {} kbit/s", bitrate / 1000)
}

/// Tells an ffmpeg to finish, and waits until it has.
async fn stop(child: &mut Child) -> anyhow::Result<()> {
    if let Some(pid) = child.id() {
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGINT)?;
        if timeout(Duration::from_secs(5), child.wait()).await.is_err() {
            child.kill().await?;
            bail!("ffmpeg did not end in time");
        }
    }
    Ok(())
}
