//! The binaries under test as child processes, ended by pid, with their logs in files.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// Lines of a log shown when a test fails.
const TAIL_LINES: usize = 80;

/// A running binary. Killed when dropped; its log is shown when that happens in a failing test.
#[derive(Debug)]
pub struct Process {
    title: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// As [`Process::start_with`], without arguments.
    ///
    /// # Errors
    ///
    /// The binary was not built, or could not be started.
    pub fn start(
        binary: &str,
        title: &str,
        variables: &BTreeMap<String, String>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_with(binary, &[], title, variables, folder)
    }

    /// Starts `binary` (of this workspace's build) with the given arguments and variables and nothing of ours but `PATH`,
    /// `HOME` and what is logged.
    ///
    /// # Errors
    ///
    /// The binary was not built, or could not be started.
    pub fn start_with(
        binary: &str,
        arguments: &[&str],
        title: &str,
        variables: &BTreeMap<String, String>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let path = binary_path(binary)?;
        let log = folder.join(format!("{title}.log"));
        // A restarted process goes on in the log of the one before.
        let file = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let inherited = ["PATH", "HOME", "RUST_LOG", "RUST_BACKTRACE"];
        let child = Command::new(&path)
            .args(arguments)
            .env_clear()
            .envs(inherited.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .envs(variables)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {}", path.display()))?;
        Ok(Self { title: title.to_owned(), log, child })
    }

    /// `SIGTERM`: drain.
    ///
    /// # Panics
    ///
    /// When the process has already ended.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// `SIGKILL`: as a crash, without a goodbye.
    ///
    /// # Panics
    ///
    /// When the process has already ended.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// `SIGSTOP`: it stands still, its connections stay open.
    ///
    /// # Panics
    ///
    /// When the process has already ended.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// `SIGCONT`: it goes on where it stood.
    ///
    /// # Panics
    ///
    /// When the process has already ended.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        assert!(self.exited().is_none(), "{} has already ended", self.title);
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child that was not waited for still has its pid");
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    ///
    /// When the operating system will not say.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// When there is none by the deadline.
    pub async fn end(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.title);
        let child = &mut self.child;
        eventually(&what, deadline, || {
            let status = child.try_wait().expect("a child can be waited for");
            async move { status }
        })
        .await
    }

    /// All it has logged so far.
    ///
    /// # Panics
    ///
    /// When the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).expect("the log is ours to read")
    }

    /// Its last lines, under a headline.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        format!("--- {}, {} of {} lines\n{}\n", self.title, lines.len() - from, lines.len(), lines[from..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The binary beside this program, or beside this test's own executable (`target/<profile>/deps/system-...`).
fn binary_path(binary: &str) -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("find this program's own executable")?;
    let folder = program.parent().context("an executable lies in a folder")?;
    let profile = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = profile.join(binary);
    if !path.is_file() {
        bail!("{} is missing: run `cargo build --workspace --bins` first", path.display());
    }
    Ok(path)
}
