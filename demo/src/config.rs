use std::net::IpAddr;
use std::path::PathBuf;

/// What the server is started with: flags, or variables of the environment.
#[derive(Debug, Clone, clap::Parser)]
#[command(about)]
pub struct Config {
    /// Address for HTTP and WebSockets.
    #[arg(long, default_value = "127.0.0.1")]
    pub listen_ip: IpAddr,
    /// Port for HTTP and WebSockets; 0 lets the kernel choose.
    #[arg(long, env = "PROTOO_LISTEN_PORT", default_value_t = 4443)]
    pub listen_port: u16,
    /// Number of workers; one for each core if not given.
    #[arg(long, env = "MEDIASOUP_NUM_WORKERS")]
    pub num_workers: Option<usize>,
    /// The worker program; if not given, `worker` next to this program.
    #[arg(long, env = "MEDIASOUP_WORKER_BIN")]
    pub worker_bin: Option<PathBuf>,
    /// Address for media.
    #[arg(long, env = "MEDIASOUP_LISTEN_IP", default_value = "127.0.0.1")]
    pub media_ip: IpAddr,
    /// Address that peers are told instead.
    #[arg(long, env = "MEDIASOUP_ANNOUNCED_IP")]
    pub announced_ip: Option<String>,
    /// Port for media of the first worker, the next ones follow; 0 lets the kernel choose.
    #[arg(long, default_value_t = 44_444)]
    pub media_port: u16,
}
