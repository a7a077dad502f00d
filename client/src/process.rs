//! The worker's process: where its program is, how it is started, watched and ended.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::channel::Ends;
use crate::error::{Error, Exit, Result};
use crate::sync::Lock;

/// Environment variable that names the worker's program.
const WORKER_BIN: &str = "MEDIASOUP_WORKER_BIN";
/// Environment variables that put it under valgrind.
const USE_VALGRIND: &str = "MEDIASOUP_USE_VALGRIND";
const VALGRIND_BIN: &str = "MEDIASOUP_VALGRIND_BIN";
const VALGRIND_OPTIONS: &str = "MEDIASOUP_VALGRIND_OPTIONS";
/// Environment variable without which a worker does not start, and the generation of the protocol that is spoken.
const VERSION: (&str, &str) = ("MEDIASOUP_VERSION", "3.10.0");
/// How long a worker may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long the worker's last words are waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Lines of standard error that are kept to explain a failed start.
const KEPT_LINES: usize = 20;

/// A running process.
pub(crate) struct Process {
    child: Child,
    pid: u32,
    stderr: Arc<Lock<VecDeque<String>>>,
    output: Vec<JoinHandle<()>>,
}

/// What is executed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    path: PathBuf,
    /// What comes before the worker's own arguments.
    arguments: Vec<OsString>,
}

/// The program to start: the given one, that of the environment, or the one next to this program; under valgrind if the
/// environment says so.
pub(crate) fn find_program(given: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Result<Program> {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    let worker = match given.or_else(|| variable(WORKER_BIN).map(PathBuf::from)) {
        Some(path) => path,
        None => beside(&env::current_exe()?)?,
    };
    if variable(USE_VALGRIND).is_none_or(|value| value != "true") {
        return Ok(Program {
            path: worker,
            arguments: Vec::new(),
        });
    }
    let options = variable(VALGRIND_OPTIONS).unwrap_or_default();
    let options = options.to_string_lossy();
    let mut arguments = options.split_whitespace().map(OsString::from).collect::<Vec<_>>();
    arguments.push(worker.into());
    Ok(Program {
        path: variable(VALGRIND_BIN).map_or_else(|| PathBuf::from("valgrind"), PathBuf::from),
        arguments,
    })
}

/// The worker that was built along with a program.
fn beside(executable: &Path) -> Result<PathBuf> {
    // Tests and examples of a build lie one level below its programs.
    executable
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("worker"))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::NoBinary(executable.to_path_buf()))
}

impl Process {
    /// Starts a worker and returns the ends of its channels.
    pub(crate) fn spawn(
        program: &Program,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> Result<(Self, Ends<UnixStream>)> {
        let mut fds = Vec::with_capacity(4);
        let mut channel = |child_fd| -> io::Result<UnixStream> {
            let (ours, theirs) = StdStream::pair()?;
            ours.set_nonblocking(true)?;
            fds.push(FdMapping {
                parent_fd: OwnedFd::from(theirs),
                child_fd,
            });
            UnixStream::from_std(ours)
        };
        let ends = Ends {
            requests: channel(3)?,
            responses: channel(4)?,
            payloads: channel(5)?,
            payload_events: channel(6)?,
        };

        let mut command = StdCommand::new(&program.path);
        command
            .args(&program.arguments)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if env::var_os(VERSION.0).is_none() {
            command.env(VERSION.0, VERSION.1);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.fd_mappings(fds).map_err(io::Error::other)?;
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| Error::Spawn {
            binary: program.path.clone(),
            source,
        })?;
        // The command still holds the child's ends; as long as they are open nobody sees the end of a channel.
        drop(command);

        let pid = child.id().ok_or_else(|| io::Error::other("the process has no id"))?;
        let stderr = Arc::new(Lock::new(VecDeque::new()));
        let kept = Arc::clone(&stderr);
        let output = vec![
            tokio::spawn(read_lines(child.stdout.take(), move |line| {
                tracing::debug!(pid, "{line}");
            })),
            tokio::spawn(read_lines(child.stderr.take(), move |line| {
                tracing::error!(pid, "{line}");
                let mut kept = kept.lock();
                if kept.len() == KEPT_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            })),
        ];
        Ok((
            Self {
                child,
                pid,
                stderr,
                output,
            },
            ends,
        ))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&mut self) -> Exit {
        let status = self.child.wait().await;
        self.exit(status)
    }

    /// Asks it to end, and kills it if it does not.
    pub(crate) async fn terminate(&mut self) -> Exit {
        // The process was not waited for yet, so its id cannot be that of another one.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        self.wait_or_kill(GRACE).await
    }

    /// Waits until it has ended by itself, and kills it if that takes too long.
    pub(crate) async fn wait_or_kill(&mut self, patience: Duration) -> Exit {
        if let Ok(status) = timeout(patience, self.child.wait()).await {
            return self.exit(status);
        }
        tracing::warn!(pid = self.pid, "the worker does not end by itself: killing it");
        let _ = self.child.start_kill();
        self.wait().await
    }

    /// Waits for what it has written at last.
    pub(crate) async fn finish_output(&mut self) {
        for task in self.output.drain(..) {
            let _ = timeout(LAST_WORDS, task).await;
        }
    }

    /// The last lines of its standard error.
    pub(crate) fn stderr(&self) -> String {
        Vec::from(self.stderr.lock().clone()).join("\n")
    }

    fn exit(&self, status: io::Result<ExitStatus>) -> Exit {
        let status = status
            .inspect_err(|error| tracing::error!(pid = self.pid, %error, "cannot wait"))
            .ok();
        Exit {
            pid: self.pid,
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
        }
    }
}

async fn read_lines<R: AsyncRead + Unpin>(output: Option<R>, mut on_line: impl FnMut(String)) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(output.read_until(b'\n', &mut line).await, Ok(1..)) {
        on_line(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(given: Option<&str>, environment: &[(&str, &str)]) -> (String, Vec<String>) {
        let variable = |name: &str| {
            let value = environment.iter().find(|(known, _)| *known == name)?.1;
            Some(OsString::from(value))
        };
        let Program { path, arguments } = find_program(given.map(PathBuf::from), variable).unwrap();
        let text = |argument: OsString| argument.into_string().unwrap();
        (text(path.into()), arguments.into_iter().map(text).collect())
    }

    #[test]
    fn settings_come_before_the_environment() {
        let environment = [("MEDIASOUP_WORKER_BIN", "/from/environment")];
        assert_eq!(found(Some("/given"), &environment), ("/given".into(), vec![]));
        assert_eq!(found(None, &environment), ("/from/environment".into(), vec![]));
    }

    #[test]
    fn a_worker_under_valgrind() {
        let yes = ("MEDIASOUP_USE_VALGRIND", "true");
        assert_eq!(
            found(Some("/worker"), &[yes]),
            ("valgrind".into(), vec!["/worker".into()])
        );
        let environment = [
            yes,
            ("MEDIASOUP_VALGRIND_BIN", "/opt/valgrind"),
            ("MEDIASOUP_VALGRIND_OPTIONS", " --tool=callgrind  -v "),
        ];
        let arguments = ["--tool=callgrind", "-v", "/worker"].map(String::from);
        assert_eq!(
            found(Some("/worker"), &environment),
            ("/opt/valgrind".into(), arguments.to_vec())
        );
        let no = [("MEDIASOUP_USE_VALGRIND", "1")];
        assert_eq!(found(Some("/worker"), &no), ("/worker".into(), vec![]));
    }

    #[test]
    fn without_a_program_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let executable = directory.path().join("deps").join("program");
        assert!(matches!(beside(&executable), Err(Error::NoBinary(_))));
        std::fs::write(directory.path().join("worker"), "").unwrap();
        assert_eq!(beside(&executable).unwrap(), directory.path().join("worker"));
    }
}
