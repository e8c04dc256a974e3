//! A real nginx in front of a control plane, with nothing in its configuration but where to send requests.
//!
//! Its ports are reserved by bound sockets that do not listen, which leaves nginx, which sets SO_REUSEADDR as well, free to.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};

use super::until;

/// Where Debian puts it, which is in no user's path.
const NGINX: &str = "/usr/sbin/nginx";

/// Ended by its process id when dropped.
pub struct Nginx {
    /// `proxy_pass` with `proxy_http_version 1.0` and `1.1`, as URLs.
    pub http: [String; 2],
    /// `grpc_pass`, as a URL.
    pub grpc: String,
    child: Child,
    _reserved: Vec<TcpSocket>,
    _folder: TempDir,
}

fn reserve() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// One process, everything it writes in its folder, and of each server what makes it one.
fn configuration(folder: &Path, [old, new, grpc]: [SocketAddr; 3], upstream: &str) -> String {
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {folder}/{what};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ }}
        http {{
            access_log {folder}/access.log;
            {temporary}
            server {{ listen {old}; location / {{ proxy_pass http://{upstream}; proxy_http_version 1.0; }} }}
            server {{ listen {new}; location / {{ proxy_pass http://{upstream}; proxy_http_version 1.1; }} }}
            server {{ listen {grpc} http2; location / {{ grpc_pass grpc://{upstream}; }} }}
        }}"
    )
}

impl Nginx {
    /// Before the control plane at this URL. Ready once it takes connections.
    pub async fn before(url: &str) -> Self {
        let upstream = url.strip_prefix("http://").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (reserved, addresses): (Vec<_>, Vec<_>) = (0..3).map(|_| reserve()).unzip();
        let addresses: [SocketAddr; 3] = addresses.try_into().unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(folder.path(), addresses, upstream)).unwrap();
        assert!(Path::new(NGINX).exists(), "{NGINX} is missing: `scripts/install-deps proxy` installs it");
        let log = std::fs::File::create(folder.path().join("output")).unwrap();
        let child = Command::new(NGINX)
            .args(["-p", folder.path().to_str().unwrap(), "-c", file.to_str().unwrap(), "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let url = |address: SocketAddr| format!("http://{address}");
        let mut nginx = Self {
            http: [url(addresses[0]), url(addresses[1])],
            grpc: url(addresses[2]),
            child,
            _reserved: reserved,
            _folder: folder,
        };
        for address in addresses {
            nginx.assert_alive();
            until("nginx takes connections", || async { TcpStream::connect(address).await.ok() }).await;
        }
        nginx.assert_alive();
        nginx
    }

    /// How often the access logs have this text.
    pub fn logged(&self, text: &str) -> usize {
        std::fs::read_to_string(self._folder.path().join("access.log")).unwrap().matches(text).count()
    }

    fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let read = |name| std::fs::read_to_string(self._folder.path().join(name)).unwrap_or_default();
            panic!("nginx ended with {status}: {}{}", read("output"), read("error.log"));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
