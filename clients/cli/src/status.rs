//! `voicebridge status`: which control plane answers, and whether it speaks the contract this program was built with.

use voicebridge_proto::{
    CONTRACT_VERSION,
    control::v1::{GetServerInfoRequest, GetServerInfoResponse, server_service_client::ServerServiceClient},
};
use voicebridge_server::json;

use crate::{
    args::Status,
    client::connection,
    failure::refused,
    print::{DIM, WARN, clean, outln},
};

pub(crate) async fn run(args: Status) -> anyhow::Result<()> {
    let (channel, bearer) = connection(&args.access).await?;
    let mut client = ServerServiceClient::with_interceptor(channel, bearer);
    let info = client.get_server_info(GetServerInfoRequest {}).await.map_err(|status| refused(&status))?.into_inner();
    if args.json {
        return Ok(outln(&json::line(&info))?);
    }
    outln(&server(&args.access.url, &info))?;
    outln(&format!("{DIM}this program   version {}, contract {CONTRACT_VERSION}{DIM:#}", env!("CARGO_PKG_VERSION")))?;
    if let Some(warning) = difference(&info.contract_version, CONTRACT_VERSION) {
        outln(&format!("{WARN}{warning}{WARN:#}"))?;
    }
    Ok(())
}

fn server(url: &str, info: &GetServerInfoResponse) -> String {
    let (program, contract) = (clean(&info.program_version), clean(&info.contract_version));
    format!("control plane  version {program}, contract {contract}, at {}", clean(url))
}

/// What to know when the two are not the same: within a major version the older one lacks things, and breaks none.
fn difference(theirs: &str, ours: &str) -> Option<&'static str> {
    let parts = |version: &str| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    match (parts(theirs), parts(ours)) {
        (Some(theirs), Some(ours)) if theirs == ours => None,
        (Some((theirs, _)), Some((ours, _))) if theirs != ours => {
            Some("These contracts do not fit each other: use a program of the control plane's version.")
        }
        (Some(theirs), Some(ours)) if theirs < ours => {
            Some("The control plane is older than this program: what came later it does not know.")
        }
        (Some(_), Some(_)) => Some("This program is older than the control plane: what came later it does not show."),
        _ => Some("The control plane's version of the contract cannot be read."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_differ_are_told_apart() {
        let check = |theirs, ours, expect: Option<&str>| {
            let found = difference(theirs, ours);
            assert_eq!(found.is_some(), expect.is_some(), "{theirs} {ours}");
            assert!(
                expect.is_none_or(|part| found.is_some_and(|found| found.contains(part))),
                "{theirs} {ours}: {found:?}"
            );
        };
        check("1.4", "1.4", None);
        check("1.4", "1.10", Some("control plane is older"));
        check("1.10", "1.4", Some("program is older"));
        check("2.0", "1.9", Some("do not fit"));
        check("", "1.0", Some("cannot be read"));
        check("1", "1.0", Some("cannot be read"));
    }

    #[test]
    fn a_control_plane_on_a_line() {
        let info = GetServerInfoResponse { contract_version: "1.2".into(), program_version: "0.3.0\u{1b}[2J".into() };
        let shown = server("http://127.0.0.1:3100", &info);
        assert!(shown.contains("contract 1.2, at http://127.0.0.1:3100") && !shown.contains('\u{1b}'), "{shown}");
    }
}
