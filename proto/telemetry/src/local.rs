//! Secrets of one machine and user, for programs that nobody gave any: made when first needed, kept in files that only
//! their owner can read, used by whatever the same user runs here.
//!
//! That a request comes from loopback proves nothing, because a proxy on this machine sends those of the whole world from
//! there. That somebody can read a file of ours does.
//!
//! The folder is `VOICEBRIDGE_STATE_DIR`, else `voicebridge` in `XDG_STATE_HOME`, else in `~/.local/state` (XDG Base
//! Directory Specification). A file appears whole and never replaces another, so programs that start at the same moment
//! agree on one secret. One that somebody else owns, or could have read or changed, is not used.
//!
//! What this does not do: say what a secret is good for. The two planes do, each for its own.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use secrecy::SecretString;

/// The variable that names the folder.
pub const STATE_DIR: &str = "VOICEBRIDGE_STATE_DIR";

const FOLDER_MODE: u32 = 0o700;
const GROUP_AND_OTHERS: u32 = 0o077;
const GROUP_AND_OTHERS_WRITE: u32 = 0o022;
/// As many as nobody guesses.
const RANDOM_BYTES: usize = 32;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalSecret {
    /// The control plane's key while none is configured.
    ApiKey,
    /// The token between the planes while `VOICEBRIDGE_NODE_TOKEN` is not set.
    NodeToken,
}

impl LocalSecret {
    const fn file_name(self) -> &'static str {
        match self {
            Self::ApiKey => "local-key",
            Self::NodeToken => "local-node-token",
        }
    }

    /// Tells ours from other strings, and from each other, for people and for scanners of secrets.
    const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "vb_local_",
            Self::NodeToken => "vb_node_",
        }
    }

    fn parse(self, text: &str) -> Option<SecretString> {
        let text = text.trim();
        let random = text.strip_prefix(self.prefix())?;
        let sound = random.len() == 2 * RANDOM_BYTES && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        sound.then(|| SecretString::from(text))
    }
}

/// Why a secret cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The operating system says no.
    #[error("{} cannot be {what}; {STATE_DIR} names another folder", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Made, read, written.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nowhere to look for it or to keep it.
    #[error(
        "{0} is not set, and neither XDG_STATE_HOME nor HOME says where to keep a local one; set it, or {STATE_DIR}"
    )]
    NoFolder(&'static str),
    /// Whoever owns it knows what is in it.
    #[error("{} belongs to another user; remove it, or have {STATE_DIR} name a folder of your own", .0.display())]
    Foreign(PathBuf),
    /// Others may know, or have chosen, what is in it.
    #[error("others on this machine can read or change {}; remove it to have another made, and `chmod go-rwx` its folder", .0.display())]
    Open(PathBuf),
    /// Somebody else's file, or a piece of one.
    #[error("{} holds something else than a secret of ours; remove it to have one made", .0.display())]
    Malformed(PathBuf),
}

/// What the planes show each other: the token configured, else the local one. And where it comes from, for messages.
///
/// # Errors
/// None is configured, and the local one cannot be used.
pub fn node_token(
    configured: Option<&SecretString>,
    state_dir: Option<&StateDir>,
) -> Result<(SecretString, String), Unusable> {
    const VARIABLE: &str = "VOICEBRIDGE_NODE_TOKEN";
    if let Some(token) = configured {
        return Ok((token.clone(), VARIABLE.to_owned()));
    }
    let state_dir = state_dir.ok_or(Unusable::NoFolder(VARIABLE))?;
    let token = state_dir.read_or_make(LocalSecret::NodeToken)?;
    Ok((token, format!("{}, as {VARIABLE} is not set", state_dir.shown(LocalSecret::NodeToken))))
}

/// The folder of local secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// This folder; it need not exist.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where the environment says. None: there is neither `XDG_STATE_HOME` nor `HOME`. Relative paths do not count, as the
    /// specification has it: they would mean another folder to each program.
    #[must_use]
    pub fn by_default() -> Option<Self> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let states = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
        Some(Self(states.join("voicebridge")))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of a secret.
    #[must_use]
    pub fn file(&self, secret: LocalSecret) -> PathBuf {
        self.0.join(secret.file_name())
    }

    /// The same for messages that others read as well: a shell's `~` in place of the home folder, which names a person.
    #[must_use]
    pub fn shown(&self, secret: LocalSecret) -> String {
        let file = self.file(secret);
        let home = env::var_os("HOME").filter(|home| Path::new(home).is_absolute());
        match home.as_ref().and_then(|home| file.strip_prefix(home).ok()) {
            Some(rest) => format!("~/{}", rest.display()),
            None => file.display().to_string(),
        }
    }

    /// The secret, for whoever is to show it; none if none was made. Who else can read it is the other side's care.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is not ours.
    pub fn read(&self, secret: LocalSecret) -> Result<Option<SecretString>, Unusable> {
        let file = self.file(secret);
        match fs::read_to_string(&file) {
            Ok(text) => secret.parse(&text).map(Some).ok_or(Unusable::Malformed(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Unusable::Io { path: file, what: "read", source }),
        }
    }

    /// The secret, for whoever is to believe those who show it; made if there is none.
    ///
    /// # Errors
    /// It can neither be read nor made, or others may know it.
    pub fn read_or_make(&self, secret: LocalSecret) -> Result<SecretString, Unusable> {
        self.prepare()?;
        let file = self.file(secret);
        match self.read(secret)? {
            Some(found) => self.check(&file, GROUP_AND_OTHERS).map(|()| found),
            None => self.make(secret, &file),
        }
    }

    /// The folder, its owner's alone where it is new. One that exists may be looked into: the files in it may not.
    fn prepare(&self) -> Result<(), Unusable> {
        let made = fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.0);
        made.map_err(|source| Unusable::Io { path: self.0.clone(), what: "made", source })?;
        self.check(&self.0, GROUP_AND_OTHERS_WRITE)
    }

    fn check(&self, path: &Path, forbidden: u32) -> Result<(), Unusable> {
        let metadata =
            fs::metadata(path).map_err(|source| Unusable::Io { path: path.to_owned(), what: "read", source })?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(Unusable::Foreign(path.to_owned()));
        }
        if metadata.mode() & forbidden != 0 {
            return Err(Unusable::Open(path.to_owned()));
        }
        Ok(())
    }

    fn make(&self, secret: LocalSecret, file: &Path) -> Result<SecretString, Unusable> {
        let failed = |source| Unusable::Io { path: file.to_owned(), what: "written", source };
        let text = format!("{}{}", secret.prefix(), hex::encode(rand::random::<[u8; RANDOM_BYTES]>()));
        // Readable by its owner only from the first moment.
        let mut written = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.0).map_err(failed)?;
        writeln!(written, "{text}").and_then(|()| written.as_file().sync_all()).map_err(failed)?;
        match written.persist_noclobber(file) {
            Ok(_) => Ok(SecretString::from(text)),
            // Somebody was faster: theirs it is.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                self.check(file, GROUP_AND_OTHERS)?;
                self.read(secret)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
            }
            Err(error) => Err(failed(error.error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_is_made_once_and_is_its_owners() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("state/voicebridge");
        let state = StateDir::at(folder.clone());
        assert!(state.read(LocalSecret::ApiKey).unwrap().is_none());
        let key = state.read_or_make(LocalSecret::ApiKey).unwrap();
        let token = state.read_or_make(LocalSecret::NodeToken).unwrap();
        assert_eq!(key.expose_secret().len(), "vb_local_".len() + 64);
        assert_ne!(key.expose_secret()["vb_local_".len()..], token.expose_secret()["vb_node_".len()..]);
        for (secret, made) in [(LocalSecret::ApiKey, &key), (LocalSecret::NodeToken, &token)] {
            let again = StateDir::at(folder.clone()).read_or_make(secret).unwrap();
            assert_eq!(again.expose_secret(), made.expose_secret());
            assert_eq!(state.read(secret).unwrap().unwrap().expose_secret(), made.expose_secret());
            assert_eq!(mode(&state.file(secret)), 0o600);
        }
        assert_eq!((mode(&folder), mode(folder.parent().unwrap())), (0o700, 0o700));
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing half made is left: {names:?}");
        assert!(!format!("{key:?} {state:?}").contains(&key.expose_secret()[9..]));
    }

    #[test]
    fn programs_that_start_together_agree() {
        for _ in 0..50 {
            let above = tempfile::tempdir().unwrap();
            let state = StateDir::at(above.path().join("state"));
            let starting: Vec<_> = (0..8)
                .map(|_| {
                    let state = state.clone();
                    std::thread::spawn(move || state.read_or_make(LocalSecret::ApiKey).unwrap())
                })
                .collect();
            let keys: Vec<_> = starting.into_iter().map(|one| one.join().unwrap()).collect();
            assert!(keys.iter().all(|key| key.expose_secret() == keys[0].expose_secret()));
        }
    }

    #[test]
    fn what_others_may_know_is_not_used() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("state");
        let state = StateDir::at(folder.clone());
        state.read_or_make(LocalSecret::ApiKey).unwrap();
        let file = state.file(LocalSecret::ApiKey);
        for open in [0o640, 0o604, 0o620, 0o644] {
            set_mode(&file, open);
            assert!(matches!(state.read_or_make(LocalSecret::ApiKey), Err(Unusable::Open(path)) if path == file));
        }
        set_mode(&file, 0o600);
        for (open, expect) in [(0o755, true), (0o710, true), (0o777, false), (0o720, false), (0o1777, false)] {
            set_mode(&folder, open);
            assert_eq!(state.read_or_make(LocalSecret::ApiKey).is_ok(), expect, "{open:o}");
        }
        set_mode(&folder, 0o700);
        for other in ["", "s3cret", "vb_local_12", &format!("vb_node_{}", "0".repeat(64))] {
            fs::write(&file, other).unwrap();
            assert!(matches!(state.read_or_make(LocalSecret::ApiKey), Err(Unusable::Malformed(_))), "{other}");
            assert!(matches!(state.read(LocalSecret::ApiKey), Err(Unusable::Malformed(_))), "{other}");
        }
    }

    #[test]
    fn what_belongs_to_another_user_is_not_used() {
        let above = tempfile::tempdir().unwrap();
        let state = StateDir::at(above.path().join("state"));
        state.read_or_make(LocalSecret::ApiKey).unwrap();
        let (nobody, us) = (65_534, rustix::process::geteuid().as_raw());
        for path in [state.file(LocalSecret::ApiKey), above.path().join("state")] {
            // Only root can give a file away; anybody else finds one of root's in its place.
            if us == 0 {
                std::os::unix::fs::chown(&path, Some(nobody), None).unwrap();
                assert!(
                    matches!(state.read_or_make(LocalSecret::ApiKey), Err(Unusable::Foreign(found)) if found == path)
                );
                std::os::unix::fs::chown(&path, Some(us), None).unwrap();
            } else {
                assert!(matches!(state.check(Path::new("/"), 0), Err(Unusable::Foreign(_))));
            }
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_a_next_step() {
        let above = tempfile::tempdir().unwrap();
        let in_the_way = above.path().join("file");
        fs::write(&in_the_way, "").unwrap();
        let error = StateDir::at(in_the_way.join("state")).read_or_make(LocalSecret::ApiKey).unwrap_err().to_string();
        assert!(error.contains("file/state") && error.contains(STATE_DIR), "{error}");
    }
}
