//! PostgreSQL.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use socket2::Socket;

use crate::{
    certificates::Authority,
    child::{Kept, User, program, reserve},
};

/// Where Debian has its versions, out of users' path.
const VERSIONS: &str = "/usr/lib/postgresql";
/// How long a server may take to be ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name in its certificate.
const NAME: &str = "localhost";

/// A server with a superuser `test` who needs no password.
pub struct Server {
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    authority: Authority,
    process: Kept,
    databases: AtomicU32,
    _reserved: Socket,
}

fn binaries() -> PathBuf {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let newest = newest.unwrap_or_else(|| {
        panic!("there is no PostgreSQL under {VERSIONS}: `scripts/install-deps postgres` installs it")
    });
    Path::new(VERSIONS).join(newest.to_string()).join("bin")
}

impl Server {
    /// Ready when this returns.
    pub fn start() -> Self {
        let (user, binaries) = (User::find(), binaries());
        let folder = user.folder();
        let data = folder.join("data");
        let made = user
            .command(&program(binaries.join("initdb")))
            .arg("-D")
            .arg(&data)
            .args(["-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"])
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let authority = Authority::new();
        let (certificate, key) = authority.server(NAME);
        user.write(&data.join("server.crt"), &certificate);
        user.write(&data.join("server.key"), &key);
        std::fs::write(folder.join("ca.pem"), authority.certificate()).expect("a file");
        let (reserved, address) = reserve();
        let socket_folder = folder.display().to_string();
        let settings = [
            ("listen_addresses", "127.0.0.1"),
            ("port", &address.port().to_string()),
            ("unix_socket_directories", &socket_folder),
            ("fsync", "off"),
            ("ssl", "on"),
            ("max_connections", "300"),
            // What is asked for in whose name, and for how long it was waited, is found in the log.
            ("log_lock_waits", "on"),
        ];
        let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
        arguments.extend(settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        let process = Kept::start(user, &folder, "QUIT", &binaries.join("postgres"), &arguments);
        let port = address.port();
        let server =
            Self { binaries, folder, port, authority, process, databases: AtomicU32::new(0), _reserved: reserved };
        server.ready();
        server
    }

    fn ready(&self) {
        let began = Instant::now();
        while self.psql("postgres", "SELECT 1").is_err() {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL is not ready: {}", self.process.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.binaries.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql])
            .output()
            .expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://test@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// What psql prints for this.
    ///
    /// # Panics
    /// It fails.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.psql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Stops at once, as one that is restarted does not: connections are cut in the middle, and it recovers when started.
    pub fn crash(&self) {
        self.process.order("QUIT");
    }

    /// After [`Self::crash`]. Ready when this returns.
    pub fn restart(&self) {
        self.process.order("start");
        self.ready();
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name its certificate is for.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The certificate of its CA, a file in PEM.
    pub fn authority(&self) -> PathBuf {
        let _ = &self.authority;
        self.folder.join("ca.pem")
    }
}

/// The name of the database in a URL of ours.
pub(crate) fn database_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}
