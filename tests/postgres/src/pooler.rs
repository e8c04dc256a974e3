//! pgbouncer in transaction mode, as Debian has it and with nothing set that would make it more tolerant.

use std::{
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use socket2::Socket;

use crate::{
    child::{Kept, User, program, reserve},
    server::{Server, database_of},
};

const PGBOUNCER: &str = "/usr/sbin/pgbouncer";
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections to the server; fewer than there are clients, so that a client has now this one and now that one.
const SERVER_CONNECTIONS: u32 = 2;

/// A pooler.
pub struct Pooler {
    port: u16,
    _process: Kept,
    _reserved: Socket,
}

impl Pooler {
    /// Before this server, ready when this returns.
    pub fn before(server: &Server) -> Self {
        let user = User::find();
        let folder = user.folder();
        let (reserved, address) = reserve();
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=test\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 100\n",
            server.port(),
            address.port()
        );
        let file = folder.join("pgbouncer.ini");
        user.write(&file, &configuration);
        let pgbouncer = program(PathBuf::from(PGBOUNCER));
        let process = Kept::start(user, &folder, "TERM", &pgbouncer, &[file.display().to_string()]);
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < PATIENCE, "pgbouncer is not ready: {}", process.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { port: address.port(), _process: process, _reserved: reserved }
    }

    /// The same database as that of the URL of the server, through it.
    pub fn url(&self, of_server: &str) -> String {
        format!("postgres://test@127.0.0.1:{}/{}", self.port, database_of(of_server))
    }
}
