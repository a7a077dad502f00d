//! A worker process and the ends of its pipes.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::frame::{Deframer, encode};

/// What a worker does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A frame on fd 4.
    Channel(Vec<u8>),
    /// A frame on fd 6.
    Payload(Vec<u8>),
    /// A line on its standard output.
    Stdout(String),
    /// A line on its standard error.
    Stderr(String),
    /// It has ended, and everything it wrote has been reported.
    Exit {
        /// Exit code, unless it was killed.
        code: Option<i32>,
        /// Name of the signal that killed it.
        signal: Option<String>,
    },
}

/// How to start a worker.
#[derive(Debug, Clone)]
pub struct Options {
    /// Command line.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        let args = ["--logLevel=none", "--rtcMinPort=20000", "--rtcMaxPort=39999"];
        Self {
            args: args.map(str::to_owned).to_vec(),
            env: BTreeMap::from([("MEDIASOUP_VERSION".to_owned(), "3.10.0".to_owned())]),
        }
    }
}

/// The program under test: `WORKER_BIN`, or `worker` in the target directory that this test was built into.
///
/// # Panics
/// There is no such file.
pub fn binary() -> PathBuf {
    let path = env::var_os("WORKER_BIN").map_or_else(built_binary, PathBuf::from);
    assert!(
        path.is_file(),
        "there is no worker at {}: build it with `cargo build -p worker` (`make test` does), or set WORKER_BIN",
        path.display()
    );
    path.canonicalize().unwrap_or(path)
}

fn built_binary() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    // target/debug/deps/name-hash
    let profile = test.ancestors().nth(2).expect("a target directory").to_owned();
    let sibling = profile.join("worker");
    let release = profile.with_file_name("release").join("worker");
    if !sibling.is_file() && release.is_file() {
        release
    } else {
        sibling
    }
}

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub struct WorkerProcess {
    pid: Pid,
    pipes: BTreeMap<i32, UnixStream>,
    /// Set under lock when the process has been waited for, so that no signal goes to a process id used anew.
    reaped: Arc<Mutex<bool>>,
    waiter: Option<JoinHandle<()>>,
    held_payloads: Vec<u8>,
}

impl WorkerProcess {
    /// Starts a worker; `sink` is called, from several threads, with everything it does.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn<F>(options: &Options, sink: F) -> anyhow::Result<Self>
    where
        F: Fn(Event) + Send + Sync + 'static,
    {
        let sink = Arc::new(sink);
        let mut pipes = BTreeMap::new();
        let mut mappings = Vec::new();
        for child_fd in 3..=6 {
            let (ours, theirs) = UnixStream::pair()?;
            pipes.insert(child_fd, ours);
            mappings.push(FdMapping {
                parent_fd: OwnedFd::from(theirs),
                child_fd,
            });
        }
        let binary = binary();
        let mut command = Command::new(&binary);
        command.args(&options.args).env_clear().envs(&options.env);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.fd_mappings(mappings).context("mapping file descriptors")?;
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        drop(command);

        let pid = Pid::from_raw(i32::try_from(child.id())?);
        let stdout = child.stdout.take().context("standard output")?;
        let stderr = child.stderr.take().context("standard error")?;
        let readers = vec![
            read_frames(pipes[&4].try_clone()?, Arc::clone(&sink), Event::Channel),
            read_frames(pipes[&6].try_clone()?, Arc::clone(&sink), Event::Payload),
            read_lines(stdout, Arc::clone(&sink), Event::Stdout),
            read_lines(stderr, Arc::clone(&sink), Event::Stderr),
        ];
        let reaped = Arc::new(Mutex::new(false));
        let done = Arc::clone(&reaped);
        let waiter = thread::spawn(move || wait(child, &done, readers, sink.as_ref()));
        Ok(Self {
            pid,
            pipes,
            reaped,
            waiter: Some(waiter),
            held_payloads: Vec::new(),
        })
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Writes bytes to one of its descriptors. That nobody reads them is not an error: the worker may be gone.
    pub fn write(&mut self, fd: i32, bytes: &[u8]) {
        if let Some(pipe) = self.pipes.get_mut(&fd) {
            let _ = pipe.write_all(bytes);
        }
    }

    /// Writes one frame on the Channel.
    pub fn send(&mut self, content: &[u8]) {
        self.write(3, &encode(content));
    }

    /// Writes a message on the PayloadChannel: a header, and a payload unless it is left out.
    pub fn send_payload(&mut self, header: &[u8], payload: Option<&[u8]>) {
        self.hold_payload(header, payload);
        let bytes = std::mem::take(&mut self.held_payloads);
        self.write(5, &bytes);
    }

    /// The same, but written together with the next that is sent, in one go.
    pub fn hold_payload(&mut self, header: &[u8], payload: Option<&[u8]>) {
        self.held_payloads.extend(encode(header));
        self.held_payloads.extend(payload.map(encode).unwrap_or_default());
    }

    /// Closes our end of one of its descriptors.
    pub fn close(&mut self, fd: i32) {
        if let Some(pipe) = self.pipes.remove(&fd) {
            // The reading thread holds a second handle of the same socket.
            let _ = pipe.shutdown(Shutdown::Both);
        }
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(&self, signal: Signal) {
        let reaped = self.reaped.lock().expect("not poisoned");
        if !*reaped {
            let _ = kill(self.pid, signal);
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        for pipe in self.pipes.values() {
            let _ = pipe.shutdown(Shutdown::Both);
        }
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
    }
}

fn wait(mut child: Child, reaped: &Mutex<bool>, readers: Vec<JoinHandle<()>>, sink: &dyn Fn(Event)) {
    // The process stays a zombie, and its id taken, until the flag is set.
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let pid = Pid::from_raw(child.id().cast_signed());
    let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    let status = {
        let mut reaped = reaped.lock().expect("not poisoned");
        *reaped = true;
        child.wait()
    };
    for reader in readers {
        let _ = reader.join();
    }
    let status = status.expect("the status of a child");
    let signal = status.signal().and_then(|signal| Signal::try_from(signal).ok());
    sink(Event::Exit {
        code: status.code(),
        signal: signal.map(|signal| signal.as_str().to_owned()),
    });
}

fn read_frames<F>(mut pipe: UnixStream, sink: Arc<F>, event: fn(Vec<u8>) -> Event) -> JoinHandle<()>
where
    F: Fn(Event) + Send + Sync + 'static,
{
    thread::spawn(move || {
        let mut deframer = Deframer::default();
        let mut buffer = vec![0; 65536];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            deframer.push(&buffer[..length]);
            while let Some(frame) = deframer.next_frame() {
                sink(event(frame));
            }
        }
    })
}

fn read_lines<R, F>(stream: R, sink: Arc<F>, event: fn(String) -> Event) -> JoinHandle<()>
where
    R: Read + Send + 'static,
    F: Fn(Event) + Send + Sync + 'static,
{
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            sink(event(String::from_utf8_lossy(&line).into_owned()));
        }
    })
}
