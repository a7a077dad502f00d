//! Starts the conference server and ends it on SIGINT or SIGTERM.

use std::io::IsTerminal as _;

use demo::{Config, Server};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    // Before anybody is told that it is up: who is told may end it.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let server = Server::start(Config::load()?).await?;
    announce(&server.urls());
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => server.reload_certificate(),
            () = server.worker_died() => anyhow::bail!("a worker died"),
        }
    }
    server.close();
    Ok(())
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
