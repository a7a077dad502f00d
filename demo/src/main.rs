//! Starts the conference server and ends it on SIGINT or SIGTERM.

use clap::Parser;
use demo::{Config, Server};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    // Before anybody is told that it is up: who is told may end it.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let server = Server::start(Config::parse()).await?;
    println!("http://{}", server.address());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = server.worker_died() => anyhow::bail!("a worker died"),
    }
    server.close();
    Ok(())
}
