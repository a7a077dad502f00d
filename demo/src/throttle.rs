//! A worse network on purpose: for whoever knows the secret, by the traffic control of Linux (`tc`), for the whole machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Config;
use crate::refusal::{Refusal, parse};

/// The device that what comes in is sent through, since what comes in cannot be delayed itself.
const MIRROR: &str = "ifb-demo";
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Throttles the network of this machine.
#[derive(Debug)]
pub(crate) struct Throttle {
    secret: Option<String>,
    interface: String,
    tc: PathBuf,
    ip: PathBuf,
    /// The room that throttled it last.
    active: Mutex<Option<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    /// To the server, in kbit/s.
    #[serde(default = "fast")]
    uplink: u32,
    /// From the server, in kbit/s.
    #[serde(default = "fast")]
    downlink: u32,
    /// Round trip in milliseconds, in addition.
    #[serde(default)]
    rtt: u32,
    /// In percent, each way.
    #[serde(default)]
    packet_loss: f64,
}

fn fast() -> u32 {
    1_000_000
}

impl Throttle {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let tools = config.throttle_tools.clone().unwrap_or_default();
        Arc::new(Self {
            secret: config.throttle_secret.clone(),
            interface: config.throttle_interface.clone(),
            tc: tools.join("tc"),
            ip: tools.join("ip"),
            active: Mutex::default(),
        })
    }

    /// Replaces the throttle.
    pub(crate) async fn apply(&self, room: &str, data: &Value) -> Result<(), Refusal> {
        self.check(data)?;
        let wanted: Wanted = parse(data.clone())?;
        if !(0.0..=100.0).contains(&wanted.packet_loss) || wanted.rtt > 60_000 {
            return Err(Refusal::Invalid("packetLoss or rtt out of range".to_owned()));
        }
        let mut active = self.active.lock().await;
        self.clear().await;
        *active = Some(room.to_owned());
        let applied = self.install(&wanted).await;
        if applied.is_err() {
            self.clear().await;
            *active = None;
        }
        applied
    }

    /// Lifts it.
    pub(crate) async fn reset(&self, data: &Value) -> Result<(), Refusal> {
        self.check(data)?;
        let mut active = self.active.lock().await;
        if active.take().is_some() {
            self.clear().await;
        }
        Ok(())
    }

    /// Lifts it if this room, which ends, throttled last.
    pub(crate) async fn release(&self, room: &str) {
        let mut active = self.active.lock().await;
        if active.as_deref() == Some(room) {
            *active = None;
            self.clear().await;
        }
    }

    fn check(&self, data: &Value) -> Result<(), Refusal> {
        let given = data.get("secret").and_then(Value::as_str);
        let (Some(secret), Some(given)) = (&self.secret, given) else {
            return Err(Refusal::Forbidden("throttling is not allowed".to_owned()));
        };
        if bool::from(secret.as_bytes().ct_eq(given.as_bytes())) {
            Ok(())
        } else {
            Err(Refusal::Forbidden("wrong secret".to_owned()))
        }
    }

    async fn install(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let device = &self.interface;
        let shape = |device: &str, rate: u32| {
            let (delay, loss) = (u64::from(wanted.rtt) * 500, wanted.packet_loss);
            format!("qdisc add dev {device} root netem delay {delay}us loss {loss}% rate {rate}kbit limit 10000")
        };
        let redirect = format!(
            "filter add dev {device} parent ffff: protocol all matchall action mirred egress redirect dev {MIRROR}"
        );
        run(&self.tc, &shape(device, wanted.downlink)).await?;
        run(&self.ip, &format!("link add {MIRROR} type ifb")).await?;
        run(&self.ip, &format!("link set {MIRROR} up")).await?;
        run(&self.tc, &format!("qdisc add dev {device} ingress")).await?;
        run(&self.tc, &redirect).await?;
        run(&self.tc, &shape(MIRROR, wanted.uplink)).await
    }

    /// Removes what `install` may have left, wherever it stopped.
    async fn clear(&self) {
        let device = &self.interface;
        for (program, words) in [
            (&self.tc, format!("qdisc del dev {device} root")),
            (&self.tc, format!("qdisc del dev {device} ingress")),
            (&self.ip, format!("link del {MIRROR}")),
        ] {
            if let Err(refusal) = run(program, &words).await {
                tracing::debug!(%refusal, words, "nothing to remove");
            }
        }
    }
}

async fn run(program: &Path, words: &str) -> Result<(), Refusal> {
    let command = Command::new(program).args(words.split(' ')).kill_on_drop(true).output();
    let output = timeout(PATIENCE, command).await;
    let name = program.display();
    match output {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(Refusal::Failed(format!(
            "not supported here: {name} {words}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Ok(Err(error)) => Err(Refusal::Failed(format!("not supported here: {name}: {error}"))),
        Err(_) => Err(Refusal::Failed(format!("{name} {words} does not end"))),
    }
}
