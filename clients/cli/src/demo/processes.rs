//! The three programs of the demo as child processes: started with an environment of their own, watched, and ended by
//! their process ids. Nothing of the operator's environment reaches them but what finding programs and logging needs:
//! the demo never touches a real account.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Passed on from our own environment.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "VOICEBRIDGE_LOG_FORMAT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// How long a process may take from SIGTERM to its end; its calls are over by then.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Lines of a log shown when its process failed.
const TAIL: usize = 15;

/// One child. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`, which lies beside this one; both its outputs go to `log`.
    pub(crate) fn start(
        name: &'static str,
        program: &str,
        variables: &[(&str, String)],
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let path = beside_us(program)?;
        let output = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let child = Command::new(&path)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((*name, env::var_os(name)?))))
            .envs(variables.iter().map(|(name, value)| (*name, OsString::from(value))))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C reaches us alone; we end the children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", path.display()))?;
        Ok(Self { name, child, log })
    }

    /// Fails if the process has ended, with the end of its log.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended by itself ({status}){}", self.name, self.tail()),
        }
    }

    /// Asks it to drain and waits for its end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        // No id: it has ended already, and that it was asked to is what the status tells.
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(pid, Signal::TERM).with_context(|| format!("{} cannot be told to stop", self.name))?;
        }
        match tokio::time::timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => anyhow::bail!("{} did not end well ({}){}", self.name, words(status), self.tail()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                anyhow::bail!("{} was still there {} s after SIGTERM{}", self.name, STOP_WITHIN.as_secs(), self.tail())
            }
        }
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(TAIL)..].join("\n    ");
        format!("; the end of {}:\n    {last}", self.log.display())
    }
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"))
}

/// The path of a program in the directory of this one.
fn beside_us(program: &str) -> anyhow::Result<PathBuf> {
    let this = env::current_exe().context("this program does not know where it lies")?;
    let path = this.parent().unwrap_or(Path::new(".")).join(program);
    anyhow::ensure!(
        path.is_file(),
        "{} is missing: the demo starts it as a process of its own; `make build` builds all three programs",
        path.display()
    );
    Ok(path)
}

/// Loopback ports free at this moment. Held until [`Ports::release`], so that they differ from each other.
#[derive(Debug)]
pub(crate) struct Ports(Vec<TcpListener>);

impl Ports {
    pub(crate) fn hold<const N: usize>() -> io::Result<(Self, [SocketAddr; N])> {
        let held: Vec<TcpListener> =
            (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
        let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
        for (address, listener) in addresses.iter_mut().zip(&held) {
            *address = listener.local_addr()?;
        }
        Ok((Self(held), addresses))
    }

    /// Frees them for the processes that are to listen there.
    pub(crate) fn release(self) {
        drop(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_held_together_differ() {
        let (ports, addresses) = Ports::hold::<3>().unwrap();
        assert!(addresses[0] != addresses[1] && addresses[1] != addresses[2] && addresses[0] != addresses[2]);
        ports.release();
    }

    #[test]
    fn a_missing_program_is_named_with_a_next_step() {
        let error = beside_us("voicebridge-nothing").unwrap_err().to_string();
        assert!(error.contains("voicebridge-nothing") && error.contains("make build"), "{error}");
    }
}
