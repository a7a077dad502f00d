//! What the server is started with.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{ArgAction, CommandFactory as _, FromArgMatches as _};

/// What the server is started with. Flags count more than variables of the environment, those more than the file.
#[derive(Debug, Clone, clap::Parser)]
#[command(about, version)]
pub struct Config {
    /// A TOML file with values for these flags, as in `listen-port = 443`
    #[arg(long, env = "DEMO_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address for pages, signalling and broadcasters; all if not given, this machine's own with --insecure-http
    #[arg(long)]
    pub listen_ip: Option<IpAddr>,
    /// Port for pages, signalling and broadcasters; 0 lets the kernel choose
    #[arg(long, env = "PROTOO_LISTEN_PORT", default_value_t = 4443)]
    pub listen_port: u16,
    /// Serve without encryption: for tests, and behind a proxy that encrypts
    #[arg(long)]
    pub insecure_http: bool,
    /// Certificates (PEM, the server's first). If neither file is there, both are made, for this machine alone
    #[arg(long, env = "HTTPS_CERT_FULLCHAIN", default_value = "certs/fullchain.pem")]
    pub tls_cert: PathBuf,
    /// Private key of the certificate (PEM)
    #[arg(long, env = "HTTPS_CERT_PRIVKEY", default_value = "certs/privkey.pem")]
    pub tls_key: PathBuf,
    /// Folder of the built page; looked for in the usual places if not given
    #[arg(long, env = "DEMO_WEB_DIR")]
    pub web_dir: Option<PathBuf>,
    /// Number of workers; one for each core if not given
    #[arg(long, env = "MEDIASOUP_NUM_WORKERS")]
    pub num_workers: Option<usize>,
    /// The worker program; if not given, `worker` next to this program
    #[arg(long, env = "MEDIASOUP_WORKER_BIN")]
    pub worker_bin: Option<PathBuf>,
    /// Address for media
    #[arg(long, env = "MEDIASOUP_LISTEN_IP", default_value = "0.0.0.0")]
    pub media_ip: IpAddr,
    /// Address that peers are told instead; if not given and media come to all addresses, the one towards the Internet
    #[arg(long, env = "MEDIASOUP_ANNOUNCED_IP")]
    pub announced_ip: Option<String>,
    /// Port for media of the first worker, the next ones follow; 0 lets the kernel choose
    #[arg(long, default_value_t = 44_444)]
    pub media_port: u16,
    /// Whether the WebRTC transports of a worker share its port for media; or each gets ports of the range below
    #[arg(long, env = "MEDIASOUP_USE_WEBRTC_SERVER", default_value_t = true, action = ArgAction::Set)]
    pub use_web_rtc_server: bool,
    /// First port for media of broadcasters
    #[arg(long, env = "MEDIASOUP_MIN_PORT", default_value_t = 40_000)]
    pub rtc_min_port: u16,
    /// Last port for media of broadcasters
    #[arg(long, env = "MEDIASOUP_MAX_PORT", default_value_t = 49_999)]
    pub rtc_max_port: u16,
    /// Where the estimation of each peer's bandwidth begins, in bit/s
    #[arg(long, default_value_t = 1_000_000)]
    pub initial_outgoing_bitrate: u32,
    /// Longest time in ms that a packet of a key frame waits so as not to overrun its receiver's link; 0: none waits
    #[arg(long, default_value_t = 100)]
    pub max_pacing_delay: u32,
    /// Most that each peer shall send, in bit/s; 0 for no limit
    #[arg(long, default_value_t = 1_500_000)]
    pub max_incoming_bitrate: u32,
    /// Largest message over data channels, in bytes
    #[arg(long, default_value_t = 262_144)]
    pub max_sctp_message_size: u32,
    /// What users of the HTTP API of broadcasters must send as bearer token; without it anybody may use it
    #[arg(long, env = "BROADCASTER_TOKEN", hide_env_values = true)]
    pub broadcaster_token: Option<String>,
    /// Seconds without anything from a broadcaster, after which it is removed; 0 for never
    #[arg(long, default_value_t = 60)]
    pub broadcaster_timeout: u64,
    /// What readers of /metrics must send as bearer token; without it only this machine may read them
    #[arg(long, env = "METRICS_TOKEN", hide_env_values = true)]
    pub metrics_token: Option<String>,
    /// What is logged, as in `info,demo=debug`
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
    /// Log as JSON, a line for each event
    #[arg(long)]
    pub log_json: bool,
    /// Seconds that rooms get to end by themselves after SIGTERM, which lets nobody in any more
    #[arg(long, default_value_t = 5)]
    pub drain: u64,
    /// Replace a worker that dies, and end its rooms alone; otherwise all ends with status 1
    #[arg(long)]
    pub restart_worker: bool,
    /// What pages must know to make the network of this machine worse; without it nobody may
    #[arg(long, env = "NETWORK_THROTTLE_SECRET", hide_env_values = true)]
    pub throttle_secret: Option<String>,
    /// The network interface to make worse
    #[arg(long, default_value = "eth0")]
    pub throttle_interface: String,
    /// Folder of the programs tc and ip, if they are not to be looked for
    #[arg(long)]
    pub throttle_tools: Option<PathBuf>,
    /// Most connections at a time
    #[arg(long, default_value_t = 16_000)]
    pub max_connections: usize,
    /// Most connections at a time from one address, or from one /64 network of IPv6. All share it behind a proxy
    #[arg(long, default_value_t = 1000)]
    pub max_connections_per_host: usize,
    /// Largest signalling message, in bytes
    #[arg(long, default_value_t = 960_000)]
    pub max_message_size: usize,
    /// Most rooms at a time
    #[arg(long, default_value_t = 1000)]
    pub max_rooms: usize,
    /// Most peers and broadcasters at a time
    #[arg(long, default_value_t = 10_000)]
    pub max_peers: usize,
    /// Most peers and broadcasters on one worker
    #[arg(long, default_value_t = 2000)]
    pub max_peers_per_worker: usize,
    /// Most peers and broadcasters in one room
    #[arg(long, default_value_t = 500)]
    pub max_peers_per_room: usize,
    /// Peers of one room on one worker, from which on the next ones are on another one
    #[arg(long, default_value_t = 50)]
    pub room_peers_per_worker: usize,
    /// Requests of a peer in a second, in the long run; ten times as many at once
    #[arg(long, default_value_t = 500)]
    pub max_requests_per_second: u32,
    /// Seconds within which a peer must join
    #[arg(long, default_value_t = 300)]
    pub join_within: u64,
    /// Seconds within which a peer must answer a request
    #[arg(long, default_value_t = 30)]
    pub answer_within: u64,
    /// Most requests of a peer that are worked on, and most requests to it that wait for its answer
    #[arg(long, default_value_t = 100)]
    pub max_unanswered: usize,
}

impl Config {
    /// Reads flags, environment and the file that these name.
    ///
    /// # Errors
    /// The file cannot be read, or names something that is no flag. Wrong flags end the process with a message.
    pub fn load() -> anyhow::Result<Self> {
        let arguments = std::env::args_os();
        let first = Self::command().get_matches();
        let matches = match first.get_one::<PathBuf>("config") {
            None => first,
            Some(path) => with_defaults(path)?.get_matches_from(arguments),
        };
        Self::from_arg_matches(&matches).map_err(Into::into)
    }

    /// Where to listen for pages.
    pub(crate) fn listen_address(&self) -> IpAddr {
        let usual = if self.insecure_http {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        self.listen_ip.unwrap_or(usual.into())
    }

    /// What peers are told as address for media, if not the one that is listened on.
    pub(crate) fn announced(&self) -> Option<String> {
        let needed = self.media_ip.is_unspecified();
        self.announced_ip
            .clone()
            .or_else(|| needed.then(|| own_address().to_string()))
    }
}

/// The values of a file become defaults: environment and flags are stronger.
fn with_defaults(path: &Path) -> anyhow::Result<clap::Command> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: toml::Table = text.parse().with_context(|| format!("{} is no TOML", path.display()))?;
    let mut command = Config::command();
    for (key, value) in table {
        let id = key.replace('-', "_");
        let known = command.get_arguments().any(|argument| argument.get_id() == id.as_str());
        anyhow::ensure!(known && id != "config", "{}: unknown key {key:?}", path.display());
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => value.to_string(),
            _ => anyhow::bail!("{}: {key} is neither text, number nor boolean", path.display()),
        };
        command = command.mut_arg(id, |argument| argument.default_value(value));
    }
    Ok(command)
}

/// The address of this machine towards the Internet, or the loopback without one. Nothing is sent to find it.
pub(crate) fn own_address() -> IpAddr {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    ask().map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Config::command().debug_assert();
    }

    #[test]
    fn the_documentation_names_flags_that_there_are() {
        let text = [
            include_str!("../../docs/demo.md"),
            include_str!("../../docs/scaling.md"),
        ]
        .concat();
        let command = Config::command();
        let known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let named: Vec<_> = text
            .split("`--")
            .skip(1)
            .map(|rest| {
                let end = rest
                    .find(|c: char| !(c.is_ascii_lowercase() || c == '-'))
                    .unwrap_or(rest.len());
                &rest[..end]
            })
            .collect();
        assert!(named.len() > 20, "{named:?}");
        for flag in named {
            assert!(flag == "help" || known.contains(&flag), "--{flag}");
        }
    }

    fn with_file(text: &str, flags: &[&str]) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("demo.toml");
        std::fs::write(&path, text)?;
        let flags = std::iter::once(&"demo").chain(flags);
        let matches = with_defaults(&path)?.try_get_matches_from(flags)?;
        Ok(Config::from_arg_matches(&matches)?)
    }

    #[test]
    fn flags_count_more_than_the_file_and_the_file_more_than_defaults() {
        let text = "num-workers = 3\nmedia_port = 50000\ninsecure-http = true\nmedia-ip = \"127.0.0.1\"";
        let config = with_file(text, &["--media-port=0"]).unwrap();
        assert_eq!((config.num_workers, config.media_port), (Some(3), 0));
        assert!(config.insecure_http && config.media_ip.is_loopback());
        assert_eq!(config.announced(), None);
    }

    #[test]
    fn a_file_with_mistakes_is_refused() {
        for text in [
            "nonsense = 1",
            "config = \"x\"",
            "num-workers = [1]",
            "num-workers = \"x\"",
            "=",
            "listen-port = 70000",
        ] {
            assert!(with_file(text, &[]).is_err(), "{text}");
        }
    }
}
