//! Starts the conference server and ends it: at once on SIGINT, when rooms had time to end on SIGTERM.

use std::io::IsTerminal as _;
use std::time::Duration;

use demo::{Config, Server};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long pages may take to hear why they are sent away, when a worker died.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why it ends.
enum End {
    Now,
    Drain,
    Died,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::load()?;
    start_log(&config)?;
    raise_limits();
    // Before anybody is told that it is up: who is told may end it.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let drain = Duration::from_secs(config.drain);
    let server = Server::start(config).await?;
    announce(&server.urls());
    let end = loop {
        tokio::select! {
            _ = interrupt.recv() => break End::Now,
            _ = terminate.recv() => break End::Drain,
            _ = hangup.recv() => server.reload_certificate(),
            () = server.worker_died() => break End::Died,
        }
    };
    match end {
        End::Now => server.shut_down(Duration::ZERO).await,
        End::Drain => {
            tracing::info!(seconds = drain.as_secs(), "nobody comes in any more");
            tokio::select! {
                () = server.shut_down(drain) => {}
                () = either(&mut interrupt, &mut terminate) => server.shut_down(Duration::ZERO).await,
            }
        }
        End::Died => {
            let _ = tokio::time::timeout(LAST_WORDS, server.shut_down(Duration::ZERO)).await;
            anyhow::bail!("a worker died");
        }
    }
    Ok(())
}

/// Waits for one of two signals.
async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// On standard error, so that standard output has the addresses alone.
fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if config.log_json {
        log.json().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}

/// Each connection takes a descriptor, so take as many as the system gives.
fn raise_limits() {
    let raise = || {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    };
    if let Err(error) = raise() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Prints where the page is: for whoever sits here, and for phones.
fn announce(urls: &[String]) {
    for url in urls {
        println!("{url}");
    }
    let code = urls.last().map(QrCode::new);
    if std::io::stdout().is_terminal()
        && let Some(Ok(code)) = code
    {
        // Dark on light, on terminals that are light on dark.
        let mut picture = code.render::<Dense1x2>();
        picture.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark);
        println!("{}", picture.build());
    }
}
