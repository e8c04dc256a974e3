//! The system's limit of open files, raised as far as the process may: each connection is one, and so is each call's socket.
//! Shells and service managers begin with 1024 and leave it to the program to ask for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the connections: the database, Graph, nodes, calls.
const OTHERS: u64 = 1_024;

/// Raises the limit so that `connections` fit, and says so where it does not suffice.
pub(super) fn allow(connections: usize) {
    let wanted = (connections as u64).saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    // Not below what it is.
    let raised = current.map_or(raised, |current| raised.max(current));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) if raised >= wanted => {}
        Ok(()) => tracing::warn!(open_files = raised, wanted, "fewer files may be open than connections are granted"),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                wanted,
                "the limit of open files cannot be raised"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        allow(0);
        assert!(getrlimit(Resource::Nofile).current >= before.current.map(|current| current.min(OTHERS)));
        allow(usize::MAX);
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum, "as far as it may");
        allow(1);
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum, "not back again");
    }
}
