//! The worker: a process that forwards media.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use channel_proto::command::{Command, LogLevel, Target, UpdateSettings};
use channel_proto::reply::{ResourceUsage, WorkerDump};
use tokio::select;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::app_data::AppData;
use crate::channel::{Link, Reply, Started};
use crate::error::{Error, Exit, Result};
use crate::events::{CloseReason, Emitter, Events, WorkerEvent};
use crate::process::{Process, find_program};
use crate::sync::Lock;
use crate::{Router, RouterOptions, WebRtcServer, WebRtcServerOptions, new_id, ortc};

/// Exit code of a worker that refuses its settings.
const WRONG_SETTINGS: i32 = 42;
/// How long a worker may live on without one of its channels.
const WITHOUT_CHANNELS: Duration = Duration::from_secs(1);
/// How long the rest of the channels is read after the process has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Tells of workers that are up.
static STARTED: LazyLock<Emitter<Worker>> = LazyLock::new(Emitter::without_backlog);

/// All workers that this process starts from now on, each once it is up. For monitoring: whoever starts a worker has it
/// anyway.
///
/// Like any handle, one that waits here to be read keeps its worker running: read them, or drop the stream.
///
/// ```no_run
/// # async fn example() {
/// let mut workers = client::new_workers();
/// while let Some(worker) = workers.recv().await {
///     println!("worker {} is up", worker.pid());
/// }
/// # }
/// ```
pub fn new_workers() -> Events<Worker> {
    STARTED.subscribe()
}

/// What a worker is started with.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Level from which the worker logs.
    pub log_level: LogLevel,
    /// What is logged at debug level: `info`, `ice`, `dtls`, `rtp`, `srtp`, `rtcp`, `rtx`, `bwe`, `score`, `simulcast`,
    /// `svc`, `sctp`, `message`.
    pub log_tags: Vec<String>,
    /// First port for media.
    pub rtc_min_port: u16,
    /// Last port for media.
    pub rtc_max_port: u16,
    /// File with the DTLS certificate (PEM); one is made up if not given.
    pub dtls_certificate_file: Option<PathBuf>,
    /// File with its private key (PEM).
    pub dtls_private_key_file: Option<PathBuf>,
    /// Longest time that a packet of a key frame waits so as not to overrun its receiver's link; zero: none waits. If not
    /// given, it is what the worker takes: 100 ms. Transports tell in their dump how long packets did wait.
    pub max_pacing_delay: Option<Duration>,
    /// The program. If not given, that of the variable `MEDIASOUP_WORKER_BIN`, or else `worker` next to this program, so
    /// that a build is served by the worker of the same build. With `MEDIASOUP_USE_VALGRIND=true` it runs under
    /// `MEDIASOUP_VALGRIND_BIN` (`valgrind`) with `MEDIASOUP_VALGRIND_OPTIONS`.
    pub binary: Option<PathBuf>,
    /// Variables for the process, in addition to those of this one.
    pub environment: Vec<(String, String)>,
    /// How long the worker may take until it is up.
    pub start_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// Data of the application.
    pub app_data: AppData,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            log_level: LogLevel::Error,
            log_tags: Vec::new(),
            rtc_min_port: 10_000,
            rtc_max_port: 59_999,
            dtls_certificate_file: None,
            dtls_private_key_file: None,
            max_pacing_delay: None,
            binary: None,
            environment: Vec::new(),
            start_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(15),
            app_data: AppData::default(),
        }
    }
}

impl WorkerSettings {
    fn arguments(&self) -> Vec<String> {
        let level = match self.log_level {
            LogLevel::Debug => "debug",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
            LogLevel::None => "none",
        };
        let mut arguments = vec![format!("--logLevel={level}")];
        arguments.extend(self.log_tags.iter().map(|tag| format!("--logTag={tag}")));
        arguments.push(format!("--rtcMinPort={}", self.rtc_min_port));
        arguments.push(format!("--rtcMaxPort={}", self.rtc_max_port));
        let file = |name, path: &Option<PathBuf>| path.as_ref().map(|path| format!("--{name}={}", path.display()));
        arguments.extend(file("dtlsCertificateFile", &self.dtls_certificate_file));
        arguments.extend(file("dtlsPrivateKeyFile", &self.dtls_private_key_file));
        let pacing = self.max_pacing_delay.map(|delay| delay.as_millis());
        arguments.extend(pacing.map(|delay| format!("--maxPacingDelay={delay}")));
        arguments
    }
}

/// A process that forwards media. It ends with the last handle.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<WorkerInner>,
}

pub(crate) struct WorkerInner {
    pid: u32,
    app_data: AppData,
    link: Link,
    stop: Arc<Notify>,
    exit: watch::Receiver<Option<Exit>>,
    events: Emitter<WorkerEvent>,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    died: bool,
    routers: HashMap<String, Router>,
    web_rtc_servers: HashMap<String, WebRtcServer>,
}

impl Worker {
    /// Starts a worker and waits until it is up.
    pub async fn new(settings: WorkerSettings) -> Result<Self> {
        let program = find_program(settings.binary.clone(), |name| env::var_os(name))?;
        let (mut process, ends) = Process::spawn(&program, &settings.arguments(), &settings.environment)?;
        let pid = process.pid();
        let Started {
            link,
            running,
            mut readers,
        } = Link::start(ends, pid, settings.request_timeout);

        let exit = select! {
            biased;
            Ok(()) = running => None,
            exit = process.wait() => Some(exit),
            _ = readers.join_next() => Some(process.wait_or_kill(WITHOUT_CHANNELS).await),
            () = sleep(settings.start_timeout) => {
                link.close();
                process.wait_or_kill(Duration::ZERO).await;
                return Err(Error::StartTimeout(settings.start_timeout));
            }
        };
        if let Some(exit) = exit {
            link.close();
            process.finish_output().await;
            let stderr = process.stderr();
            return Err(match exit.code {
                Some(WRONG_SETTINGS) => Error::Settings(stderr),
                _ => Error::Start { exit, stderr },
            });
        }

        let (exit_sender, exit) = watch::channel(None);
        let stop = Arc::new(Notify::new());
        let (events, state) = (Emitter::new(), Lock::default());
        let inner = WorkerInner {
            pid,
            app_data: settings.app_data,
            link,
            stop,
            exit,
            events,
            state,
        };
        let worker = Self { inner: Arc::new(inner) };
        tokio::spawn(worker.watch(process, readers, exit_sender));
        STARTED.emit(worker.clone());
        Ok(worker)
    }

    /// What runs beside a worker until its process has ended.
    fn watch(
        &self,
        mut process: Process,
        mut readers: JoinSet<()>,
        exit_sender: watch::Sender<Option<Exit>>,
    ) -> impl Future<Output = ()> + use<> {
        let stop = Arc::clone(&self.inner.stop);
        let worker = Arc::downgrade(&self.inner);
        async move {
            let exit = select! {
                exit = process.wait() => exit,
                () = stop.notified() => process.terminate().await,
                _ = readers.join_next() => process.wait_or_kill(WITHOUT_CHANNELS).await,
            };
            let _ = timeout(LAST_WORDS, readers.join_all()).await;
            process.finish_output().await;
            // Whoever waits for the exit finds the worker closed.
            if let Some(worker) = worker.upgrade() {
                worker.end(Some(exit));
            }
            exit_sender.send_replace(Some(exit));
        }
    }

    /// Its process id: for what the system does with processes, such as keeping one on a CPU.
    pub fn pid(&self) -> u32 {
        self.inner.pid
    }

    /// Data of the application.
    pub fn app_data(&self) -> &AppData {
        &self.inner.app_data
    }

    /// Whether it is closed, in whatever way.
    pub fn is_closed(&self) -> bool {
        self.inner.state.lock().closed
    }

    /// Whether its process ended without having been asked to.
    pub fn has_died(&self) -> bool {
        self.inner.state.lock().died
    }

    /// The routers in it now.
    pub fn routers(&self) -> Vec<Router> {
        self.inner.state.lock().routers.values().cloned().collect()
    }

    /// The WebRtcServers in it now.
    pub fn web_rtc_servers(&self) -> Vec<WebRtcServer> {
        self.inner.state.lock().web_rtc_servers.values().cloned().collect()
    }

    /// What happens to it.
    pub fn events(&self) -> Events<WorkerEvent> {
        self.inner.events.subscribe()
    }

    /// Closes it with all that it holds, and ends its process.
    pub fn close(&self) {
        self.inner.end(None);
    }

    /// Waits until its process has ended.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.inner.exit.clone();
        let waited = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        // Without the task that watches the process, nothing is known about its end but that the runtime kills it.
        waited.unwrap_or(Exit {
            pid: self.inner.pid,
            code: None,
            signal: None,
        })
    }

    /// What it holds.
    pub async fn dump(&self) -> Result<WorkerDump> {
        self.request(Command::WorkerDump, |reply| reply.parse()).await
    }

    /// What its process has used so far.
    pub async fn get_resource_usage(&self) -> Result<ResourceUsage> {
        self.request(Command::WorkerGetResourceUsage, |reply| reply.parse())
            .await
    }

    /// Changes what it logs. Tags replace those before.
    pub async fn update_settings(&self, settings: UpdateSettings) -> Result<()> {
        self.request(Command::WorkerUpdateSettings(Ok(settings)), |_| Ok(()))
            .await
    }

    /// Creates a router.
    pub async fn create_router(&self, options: RouterOptions) -> Result<Router> {
        self.check_open()?;
        let RouterOptions { media_codecs, app_data } = options;
        let rtp_capabilities = ortc::router_capabilities(&media_codecs)?;
        let id = new_id();
        let target = Target {
            router_id: Some(id.clone()),
            ..Target::default()
        };
        let worker = Arc::clone(&self.inner);
        let link = worker.link.clone();
        link.create(target, Command::WorkerCreateRouter, Command::RouterClose, move |_| {
            let link = worker.link.clone();
            let router = Router::new(id, rtp_capabilities, app_data, link, Arc::downgrade(&worker));
            {
                let mut state = worker.state.lock();
                if state.closed {
                    return Err(Error::closed("worker"));
                }
                state.routers.insert(router.id().to_owned(), router.clone());
            }
            worker.events.emit(WorkerEvent::NewRouter(router.clone()));
            Ok(router)
        })
        .await
    }

    /// Opens sockets that WebRTC transports of this worker can share.
    pub async fn create_web_rtc_server(&self, options: WebRtcServerOptions) -> Result<WebRtcServer> {
        self.check_open()?;
        let (command, app_data) = options.into_command();
        let id = new_id();
        let target = Target {
            web_rtc_server_id: Some(id.clone()),
            ..Target::default()
        };
        let worker = Arc::clone(&self.inner);
        let link = worker.link.clone();
        link.create(target, command, Command::WebRtcServerClose, move |_| {
            let server = WebRtcServer::new(id, app_data, worker.link.clone(), Arc::downgrade(&worker));
            {
                let mut state = worker.state.lock();
                if state.closed {
                    return Err(Error::closed("worker"));
                }
                state.web_rtc_servers.insert(server.id().to_owned(), server.clone());
            }
            worker.events.emit(WorkerEvent::NewWebRtcServer(server.clone()));
            Ok(server)
        })
        .await
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed() {
            Err(Error::closed("worker"))
        } else {
            Ok(())
        }
    }

    async fn request<T: Send + 'static>(
        &self,
        command: Command,
        apply: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check_open()?;
        self.inner.link.request(Target::default(), command, apply).await
    }
}

impl WorkerInner {
    /// Closes everything; because the process has ended by itself, or by our will.
    fn end(&self, died: Option<Exit>) {
        let (routers, servers) = {
            let mut state = self.state.lock();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            state.died = died.is_some();
            (
                std::mem::take(&mut state.routers),
                std::mem::take(&mut state.web_rtc_servers),
            )
        };
        self.stop.notify_one();
        self.link.close();
        routers
            .into_values()
            .for_each(|router| router.end(CloseReason::WorkerClosed));
        servers
            .into_values()
            .for_each(|server| server.end(CloseReason::WorkerClosed));
        self.events.close(died.map_or(WorkerEvent::Closed, WorkerEvent::Died));
    }

    pub(crate) fn forget_web_rtc_server(&self, id: &str) {
        self.state.lock().web_rtc_servers.remove(id);
    }

    pub(crate) fn forget_router(&self, id: &str) {
        self.state.lock().routers.remove(id);
    }
}

impl Drop for WorkerInner {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
