//! What the clients of every language are tested against.
//!
//! [`scenarios`] plays streams of events from a script, with every way a stream can break; [`stage`] is the whole
//! system, with means to disturb it. The clients themselves, their
//! runners and the format of the scripts are described in `tests/clients/README.md`.

use std::io;

use tokio::sync::oneshot;

pub mod scenarios;
pub mod stage;

/// Resolves when standard input ends: whoever started this program, holding the other end, is gone.
#[must_use]
pub fn orphaned() -> oneshot::Receiver<()> {
    let (gone, orphaned) = oneshot::channel();
    // A thread of its own, because a blocked read would hold up the runtime's end.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(gone);
    });
    orphaned
}
