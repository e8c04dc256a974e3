//! `voicebridge nodes`: the media nodes, and draining one.

use voicebridge_proto::control::v1::{
    DrainNodeRequest, ListNodesRequest, Node, fleet_service_client::FleetServiceClient,
};
use voicebridge_server::json;

use crate::{
    args::{Nodes, NodesCommand},
    client::connection,
    failure::refused,
    print::{DIM, GOOD, WARN, clean, outln},
};

pub(crate) async fn run(args: Nodes) -> anyhow::Result<()> {
    let (channel, bearer) = connection(&args.access).await?;
    let mut client = FleetServiceClient::with_interceptor(channel, bearer);
    match args.command {
        None => {
            let listed = client.list_nodes(ListNodesRequest {}).await.map_err(|status| refused(&status))?.into_inner();
            if listed.nodes.is_empty() && !args.json {
                outln(
                    "No media node is registered. `voicebridge serve` runs one; docs/runbook says why one may be missing.",
                )?;
            }
            listed.nodes.iter().try_for_each(|node| show(node, args.json))
        }
        Some(NodesCommand::Drain { node_id }) => {
            let drained = client.drain_node(DrainNodeRequest { node_id }).await.map_err(|status| refused(&status))?;
            show(&drained.into_inner().node.unwrap_or_default(), args.json)
        }
    }
}

fn show(node: &Node, as_json: bool) -> anyhow::Result<()> {
    Ok(outln(&if as_json { json::line(node) } else { line(node) })?)
}

fn line(node: &Node) -> String {
    let (style, standing) = match node {
        Node { media_threads_lost: 1.., .. } => (WARN, "impaired"),
        Node { draining: true, .. } => (WARN, "draining"),
        _ => (GOOD, "takes calls"),
    };
    let lost = match node.media_threads_lost {
        0 => String::new(),
        lost => format!("  {WARN}{lost} of {} media threads lost{WARN:#}", node.media_threads),
    };
    format!(
        "{}  {:<9} {style}{standing:<11}{style:#} {:>4} of {:<4} calls  load {:>3.0} %  {:<8} {DIM}{} {}{DIM:#}{lost}",
        clean(&node.node_id),
        clean(&node.region),
        node.live_sessions,
        node.max_sessions,
        node.media_load * 100.0,
        clean(&node.provider),
        clean(&node.version),
        clean(&node.advertise_url),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_on_a_line() {
        let node = Node {
            node_id: "node-1".into(),
            region: "sa".into(),
            advertise_url: "http://10.0.0.7:3200".into(),
            live_sessions: 3,
            max_sessions: 80,
            media_load: 0.256,
            version: "0.1.0".into(),
            provider: "openai".into(),
            ..Node::default()
        };
        let shown = |node: &Node| anstream::adapter::strip_str(&line(node)).to_string();
        let expect =
            "node-1  sa        takes calls    3 of 80   calls  load  26 %  openai   0.1.0 http://10.0.0.7:3200";
        assert_eq!(shown(&node), expect);
        assert!(shown(&Node { draining: true, ..node.clone() }).contains(" draining "));
        let impaired = shown(&Node { media_threads: 4, media_threads_lost: 1, ..node });
        assert!(impaired.contains(" impaired ") && impaired.ends_with("  1 of 4 media threads lost"), "{impaired}");
    }
}
