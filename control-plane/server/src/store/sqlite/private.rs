//! The database's file is its owner's alone: it holds phone numbers and what people said.
//!
//! SQLite creates files as the umask says, usually readable by everybody, and gives `-wal` and `-shm` the mode of the
//! database itself. So the file is made first, empty, which SQLite takes for a new database. A file that exists keeps
//! its mode: somebody may have meant it.

use std::{io, path::Path};

/// Creates the file if there is none, readable and writable by its owner only; warns about one that others can read.
///
/// # Errors
/// The file can neither be created nor looked at.
#[cfg(unix)]
pub(super) async fn prepare(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    const OWNER_ONLY: u32 = 0o600;
    const OTHERS_READ: u32 = 0o004;
    let mut new = tokio::fs::OpenOptions::new();
    match new.write(true).create_new(true).mode(OWNER_ONLY).open(path).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mode = tokio::fs::metadata(path).await?.permissions().mode();
            if mode & OTHERS_READ != 0 {
                tracing::warn!(
                    mode = format!("{:o}", mode & 0o777),
                    "everybody on this machine can read the database of DATABASE_URL; chmod 600 it, its -wal and its -shm"
                );
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Elsewhere the directory's access rules hold.
#[cfg(not(unix))]
pub(super) async fn prepare(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn new_files_are_the_owners_and_old_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new.db");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        prepare(&path).await.unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&path, "kept").unwrap();
        prepare(&path).await.unwrap();
        assert_eq!((mode(), std::fs::read_to_string(&path).unwrap().as_str()), (0o644, "kept"));
        assert!(prepare(&directory.path().join("no/such/directory.db")).await.is_err());
    }
}
