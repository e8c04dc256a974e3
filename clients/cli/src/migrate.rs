//! `voicebridge migrate`: brings a database's schema up to date.

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use voicebridge_server::store::Database;

use crate::{args::Migrate, print::outln};

pub(crate) async fn run(args: Migrate) -> anyhow::Result<()> {
    voicebridge_telemetry::install_tls();
    let database = Database::open(args.database.expose_secret()).await.context("DATABASE_URL cannot be used")?;
    database.shut().await;
    Ok(outln("The schema of the database is up to date.")?)
}
