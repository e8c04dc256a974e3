//! What a packet costs, printed: for each agent whose instructions ran for whom, then allocations.

use crate::{
    AGENTS,
    call::Outcome,
    owner::{OWNERS, Owner, Shared, Whose, whose},
    profile::{self, Profile},
    shares::{Shares, shares},
};
use anyhow::Context as _;
use std::path::Path;

/// The columns: whose code it is.
const CODES: [(Option<Shared>, &str); 5] = [
    (None, "own"),
    (Some(Shared::Std), "std"),
    (Some(Shared::Text), "serde, base64"),
    (Some(Shared::Libc), "libc"),
    (Some(Shared::Counter), "counting"),
];
/// Of these columns what runs for our crates is ours: they stand in for code of our own.
const OURS: [Option<Shared>; 3] = [None, Some(Shared::Std), Some(Shared::Text)];

/// One agent's call.
struct Call {
    name: &'static str,
    outcome: Outcome,
    profile: Profile,
    shares: Shares,
}

impl Call {
    fn read(folder: &Path, name: &'static str) -> anyhow::Result<Self> {
        let text = |ending: &str| {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let profile = profile::read(&text("callgrind")?).with_context(|| format!("the profile of {name}"))?;
        Ok(Self { name, outcome: serde_json::from_str(&text("json")?)?, shares: shares(&profile), profile })
    }

    fn packets(&self) -> f64 {
        (self.outcome.packets_in + self.outcome.packets_out) as f64
    }

    /// Instructions for a packet, in or out.
    fn instructions(&self, owners: impl Fn(Owner) -> bool, codes: &[Option<Shared>]) -> f64 {
        let wanted = self.shares.iter().filter(|((owner, code), _)| owners(*owner) && codes.contains(code));
        wanted.fold(0.0, |sum, (_, instructions)| sum + instructions) / self.packets()
    }
}

pub(crate) fn print(folder: &Path, functions: usize) -> anyhow::Result<()> {
    let calls = AGENTS.into_iter().map(|agent| Call::read(folder, agent.name())).collect::<anyhow::Result<Vec<_>>>()?;
    for call in &calls {
        instructions(call);
    }
    allocations(&calls);
    if functions > 0 {
        top(&calls[0], functions);
    }
    Ok(())
}

fn instructions(call: &Call) {
    let Outcome { packets_in, packets_out, messages_in, .. } = call.outcome;
    println!("Instructions per packet, barge-in {}", call.name);
    println!("  of {packets_in} packets in and {packets_out} out, with {messages_in} messages of the provider");
    let all: Vec<Option<Shared>> = CODES.iter().map(|(code, _)| *code).collect();
    let head: String = CODES.iter().map(|(_, name)| format!("  {name:>13}")).collect();
    println!("  {:20}{head}  {:>13}", "ran for", "all");
    let row = |name: &str, owners: &dyn Fn(Owner) -> bool| {
        let figures = CODES.iter().map(|(code, _)| call.instructions(owners, &[*code]));
        let figures: String = figures.map(|figure| format!("  {figure:>13.1}")).collect();
        println!("  {name:20}{figures}  {:>13.1}", call.instructions(owners, &all));
    };
    for (owner, name) in OWNERS {
        row(name, &|other| other == owner);
    }
    row("all", &|_| true);
    println!("  our crates, with std, serde and base64: {:.1}\n", call.instructions(Owner::is_ours, &OURS));
}

fn allocations(calls: &[Call]) {
    let head: String = calls.iter().map(|call| format!("  {:>10}", call.name)).collect();
    println!("{:36}{head}", "Allocations per packet, once warm");
    let row = |what: &str, figures: &dyn Fn(&Outcome) -> (u64, u64)| {
        let figures = calls.iter().map(|call| figures(&call.outcome));
        let figures: String = figures.map(|(count, of)| format!("  {:>10.3}", count as f64 / of as f64)).collect();
        println!("  {what:34}{figures}");
    };
    row("in: peer", &|outcome| (outcome.allocations.peer_in, outcome.packets_in));
    row("in: session", &|outcome| (outcome.allocations.session_in, outcome.packets_in));
    row("out: session", &|outcome| (outcome.allocations.session_out, outcome.packets_out));
    row("out: peer", &|outcome| (outcome.allocations.peer_out, outcome.packets_out));
    row("out: the provider's messages", &|outcome| (outcome.allocations.message, outcome.packets_out));
    row("for a message of the provider", &|outcome| (outcome.allocations.message, outcome.messages_in));
}

/// The most expensive functions of ours, and what of others they have most of.
fn top(call: &Call, functions: usize) {
    let of = |wanted: &dyn Fn(Whose) -> bool| {
        let mut found: Vec<_> =
            call.profile.functions.iter().filter(|(function, own)| *own > 0 && wanted(whose(function))).collect();
        found.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.name.cmp(&b.name)));
        for (function, own) in found.into_iter().take(functions) {
            println!("{:>10.1}  {}", *own as f64 / call.packets(), function.name);
        }
    };
    println!("\nInstructions per packet, barge-in {}: functions of ours", call.name);
    of(&|whose| matches!(whose, Whose::Owner(owner) if owner.is_ours()));
    println!("\n... and of everybody's");
    of(&|whose| matches!(whose, Whose::Shared(_)));
}
