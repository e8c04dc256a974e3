//! The least that keeping something costs: a record of a call appended to a file, and waited for until it is on the disk.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// As long as the row of a call with its first event.
const RECORD_BYTES: usize = 1_024;
const RECORDS: usize = 500;

/// How long each took, sorted.
pub(crate) fn append_and_sync(folder: &Path) -> anyhow::Result<Vec<Duration>> {
    let folder = tempfile::tempdir_in(folder)?;
    let mut file = File::create(folder.path().join("floor"))?;
    let record = [0x55; RECORD_BYTES];
    let mut took = Vec::with_capacity(RECORDS);
    for _ in 0..RECORDS {
        let began = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}
