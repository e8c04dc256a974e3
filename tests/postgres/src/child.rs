//! A server process in a temporary folder, both of which end with the process of the test.
//!
//! A shell between the two reads what to do; when nobody can write to it any more it ends the server and takes the folder
//! away. PostgreSQL and pgbouncer will not run as root, so everything here belongs to another user when the test is root's.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use socket2::{Domain, Socket, Type};

/// Whom Debian makes for PostgreSQL.
const USER: &str = "postgres";
/// The arguments: the folder, the signal that ends the server at once, the command.
const KEEPER: &str = r#"
folder=$1 end=$2; shift 2
begin() { "$@" >>"$folder/log" 2>&1 </dev/null & pid=$!; }
begin "$@"
while read -r word; do
  case $word in
    start) begin "$@" ;;
    *) kill -s "$word" "$pid"; wait "$pid" ;;
  esac
  echo done
done
kill -s "$end" "$pid" 2>/dev/null
wait "$pid"
rm -rf "$folder"
"#;

/// Who runs servers.
#[derive(Clone, Copy)]
pub(crate) struct User(Option<(u32, u32)>);

impl User {
    pub(crate) fn find() -> Self {
        let id = |arguments: &[&str]| {
            let output = Command::new("id").args(arguments).output().expect("id runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let number = text.trim().parse::<u32>();
            number.unwrap_or_else(|_| panic!("there is no user {USER}: `scripts/install-deps postgres` makes one"))
        };
        Self((id(&["-u"]) == 0).then(|| (id(&["-u", USER]), id(&["-g", USER]))))
    }

    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self(Some((uid, gid))) = self {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/");
        command
    }

    /// A file that only the server reads.
    pub(crate) fn write(self, path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(path, text).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
        self.own(path);
    }

    fn own(self, path: &Path) {
        if let Self(Some((uid, gid))) = self {
            chown(path, Some(uid), Some(gid)).expect("its owner");
        }
    }

    /// Goes with the process that [`Kept::start`] starts in it.
    pub(crate) fn folder(self) -> PathBuf {
        let folder = tempfile::Builder::new().prefix("voicebridge-pg-").tempdir().expect("a folder").keep();
        self.own(&folder);
        folder
    }
}

/// A program of Debian's, or the word what installs it.
pub(crate) fn program(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: `scripts/install-deps postgres` installs it", path.display());
    path
}

/// A TCP port that nobody else gets, but which a server that sets SO_REUSEADDR can listen on.
pub(crate) fn reserve() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    let address = socket.local_addr().expect("its address").as_socket().expect("of IP");
    (socket, address)
}

/// A server process, see the module.
pub(crate) struct Kept {
    folder: PathBuf,
    shell: Mutex<(Child, ChildStdin)>,
}

impl Kept {
    pub(crate) fn start(user: User, folder: &Path, end: &str, program: &Path, arguments: &[String]) -> Self {
        let mut command = user.command(Path::new("/bin/sh"));
        command.args(["-c", KEEPER, "keeper"]).arg(folder).arg(end).arg(program).args(arguments);
        let mut shell =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell");
        let stdin = shell.stdin.take().expect("piped");
        Self { folder: folder.to_owned(), shell: Mutex::new((shell, stdin)) }
    }

    /// A signal, whose consequence is waited for, or `start`.
    pub(crate) fn order(&self, word: &str) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(shell.1, "{word}").expect("the shell reads");
        let mut done = [0; 5];
        shell.0.stdout.as_mut().expect("piped").read_exact(&mut done).expect("the shell answers");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}
