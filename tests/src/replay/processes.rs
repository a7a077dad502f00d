//! What a replay does with worker processes, and with the files that they are started with.

use std::fs;
use std::str::FromStr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{FIRST_FENCE, Replay, Running};
use crate::frame::Deframer;
use crate::recording::text;
use crate::session::Process;
use crate::worker_process::{Event, Options, WorkerProcess};

impl Replay<'_> {
    pub(super) fn files(&self, value: &Value) -> anyhow::Result<()> {
        for (name, content) in value["files"].as_object().into_iter().flatten() {
            let path = self.in_directory(name);
            match content.as_str() {
                // So the recordings say what cannot be written as a content.
                Some("a directory") => fs::create_dir(path)?,
                Some(content) => fs::write(path, content)?,
                None => bail!("no content for {name}"),
            }
        }
        Ok(())
    }

    fn in_directory(&self, text: &str) -> String {
        text.replace("<TMP>", &self.directory.path().display().to_string())
    }

    pub(super) fn spawn(&mut self, value: &Value) -> anyhow::Result<()> {
        let args = value["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let env = value["env"].as_object().into_iter().flatten();
        let env = env.map(|(key, value)| (key.clone(), self.in_directory(value.as_str().unwrap_or_default())));
        let options = Options {
            args: args.map(|arg| self.in_directory(arg)).collect(),
            env: env.collect(),
        };
        let index = self.processes.len();
        let named = self.recording.names_processes();
        let label = named.then(|| format!("w{}", index + 1));
        self.session.update(|state| state.processes.push(Process::new(label)));
        let session = Arc::clone(&self.session);
        let worker = WorkerProcess::spawn(&options, move |event: Event| session.event(index, event))?;
        self.processes.push(Running {
            worker,
            written: Deframer::default(),
            next_fence: FIRST_FENCE,
            silent: false,
        });
        self.session.wait(Duration::from_secs(60), |state| {
            let process = &state.processes[index];
            process.running || process.has_exited()
        });
        Ok(())
    }

    pub(super) fn signal(&mut self, value: &Value) -> anyhow::Result<()> {
        let signal = Signal::from_str(text(value, "signal"))?;
        let (exits, index) = (self.expects_exit(), self.index(value)?);
        let process = &mut self.processes[index];
        process.silent |= exits || [Signal::SIGTERM, Signal::SIGINT].contains(&signal);
        process.worker.signal(signal);
        self.await_end(index, exits);
        Ok(())
    }

    pub(super) fn close_fd(&mut self, value: &Value) -> anyhow::Result<()> {
        let (exits, index) = (self.expects_exit(), self.index(value)?);
        let fd = i32::try_from(value["fd"].as_i64().context("fd")?)?;
        let process = &mut self.processes[index];
        process.silent |= exits || [3, 4].contains(&fd);
        process.worker.close(fd);
        self.await_end(index, exits);
        Ok(())
    }

    fn await_end(&self, index: usize, exits: bool) {
        if exits {
            self.session
                .wait(Duration::from_secs(60), |state| state.processes[index].has_exited());
        } else {
            sleep(Duration::from_millis(60));
        }
    }
}
