//! Why the store did not do what it was asked for. No driver's types in it: what a driver said is a source to be logged.

use super::sqlite::LockError;

/// What a driver said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The database said no. Display has no row contents.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be created or looked at.
    #[error("the database's file cannot be used")]
    File(#[from] std::io::Error),
    /// Another process has its calls.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// From the driver.
    #[error("the database did not answer as it should")]
    Database(#[source] Cause),
    /// At start-up.
    #[error("the database's schema could not be brought up to date")]
    Migration(#[source] Cause),
    /// Another process has its calls, and beats.
    #[error(
        "another process has the calls of the database (waited {waited_s} s): end it first, or let this one wait longer \
         by VOICEBRIDGE_DATABASE_WAIT_S"
    )]
    Owned {
        /// How long.
        waited_s: u64,
    },
    /// Another process has taken the calls over, or nobody here has.
    #[error("this process does not have the calls of the database, or no longer")]
    NotOwner,
    /// A row that we did not write so.
    #[error("the database holds an unusable value in {0}")]
    Corrupt(&'static str),
    /// The same, as the driver says it.
    #[error("the database holds a value that cannot be read")]
    Unreadable(#[source] Cause),
}

impl StoreError {
    /// Not the database's doing now, but what it was given once: asking again changes nothing.
    #[must_use]
    pub const fn is_of_what_is_stored(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Unreadable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Unreadable(error.into()),
            error => Self::Database(error.into()),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migration(error.into())
    }
}
