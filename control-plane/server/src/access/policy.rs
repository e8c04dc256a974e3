//! What each method and path wants to see. Methods say it themselves, by the option `access` in the contract; paths are
//! listed here. What says nothing is answered to nobody.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, ExtensionDescriptor, MethodDescriptor};
use voicebridge_proto::{FILE_DESCRIPTOR_SET, options::v1 as options};

use super::Scope;

/// What a caller must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing beyond what the request itself proves.
    Open,
    /// A key with this scope; for `calls:read` a read token will do.
    Key(Scope),
    /// Any key or read token.
    AnyKey,
    /// The token shared by the planes.
    NodeToken,
}

/// What is served beside the contract's own services, by the route's pattern.
pub const HTTP: [(&str, Access); 12] = [
    ("/health", Access::Open),
    // Signed by Meta; the verification has a word of its own.
    ("/webhooks/whatsapp", Access::Open),
    // It counts, and names nobody.
    ("/metrics", Access::Key(Scope::Nodes)),
    ("/events", Access::Key(Scope::CallsRead)),
    ("/sessions", Access::Key(Scope::CallsRead)),
    ("/sessions/{call_id}", Access::Key(Scope::CallsRead)),
    ("/sessions/start", Access::Key(Scope::CallsWrite)),
    ("/sessions/{call_id}/advance", Access::Key(Scope::CallsWrite)),
    ("/sessions/{call_id}/stop", Access::Key(Scope::CallsWrite)),
    ("/grpc.health.v1.Health/{*method}", Access::Open),
    ("/grpc.reflection.v1.ServerReflection/{*method}", Access::Key(Scope::CallsRead)),
    ("/grpc.reflection.v1alpha.ServerReflection/{*method}", Access::Key(Scope::CallsRead)),
];

/// What answers a token for one call: each looks at which call is asked for.
const OF_ONE_CALL: [&str; 7] = [
    "/events",
    "/sessions/{call_id}",
    "/voicebridge.control.v1.CallService/GetCall",
    "/voicebridge.control.v1.CallService/ListTranscripts",
    "/voicebridge.control.v1.CallService/LookupCall",
    "/voicebridge.control.v1.CallService/StreamEvents",
    "/voicebridge.control.v1.CallService/WaitForSession",
];

/// What holds for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It wants this.
    Wants(Access),
    /// The service has no such method: nothing answers but an error.
    NoSuchMethod,
    /// It says nothing of who may call it, which is a mistake of ours.
    Undeclared,
}

/// The rules of everything on the listener.
#[derive(Debug)]
pub struct Policy {
    /// By path, `/package.Service/Method`.
    methods: HashMap<String, Option<Access>>,
    /// Routes of our services, `/package.Service/{*method}`.
    services: Vec<String>,
}

/// The routes of a service, as its server is mounted.
fn pattern(service: &str) -> String {
    format!("/{service}/{{*method}}")
}

fn declared(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Option<Access> {
    let options = method.options();
    let number = options.get_extension(option).as_enum_number()?;
    match options::Access::try_from(number).ok()? {
        options::Access::Unspecified => None,
        options::Access::Open => Some(Access::Open),
        options::Access::CallsRead => Some(Access::Key(Scope::CallsRead)),
        options::Access::CallsWrite => Some(Access::Key(Scope::CallsWrite)),
        options::Access::Nodes => Some(Access::Key(Scope::Nodes)),
        options::Access::Admin => Some(Access::Key(Scope::Admin)),
        options::Access::NodeToken => Some(Access::NodeToken),
        options::Access::AnyKey => Some(Access::AnyKey),
    }
}

impl Policy {
    /// Reads the contract's descriptors.
    ///
    /// # Panics
    /// They were compiled with the code; that they cannot be read is a bug of the build.
    #[must_use]
    pub fn of_the_contract() -> Self {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptors were compiled with the code");
        Self::of(&pool)
    }

    fn of(pool: &DescriptorPool) -> Self {
        let option = pool.get_extension_by_name("voicebridge.options.v1.access");
        let mut policy = Self { methods: HashMap::new(), services: Vec::new() };
        for service in pool.services() {
            policy.services.push(pattern(service.full_name()));
            for method in service.methods() {
                let access = option.as_ref().and_then(|option| declared(&method, option));
                policy.methods.insert(format!("/{}/{}", service.full_name(), method.name()), access);
            }
        }
        policy
    }

    /// The rule for a request: `route` is the pattern it matched, `path` what it asked for.
    #[must_use]
    pub fn rule(&self, route: &str, path: &str) -> Rule {
        if self.services.iter().any(|service| service == route) {
            return match self.methods.get(path) {
                Some(Some(access)) => Rule::Wants(*access),
                Some(None) => Rule::Undeclared,
                None => Rule::NoSuchMethod,
            };
        }
        let listed = HTTP.iter().find(|(listed, _)| *listed == route);
        listed.map_or(Rule::Undeclared, |(_, access)| Rule::Wants(*access))
    }

    /// Every method of the contract with what it wants.
    pub fn methods(&self) -> impl Iterator<Item = (&str, Option<Access>)> {
        self.methods.iter().map(|(path, access)| (path.as_str(), *access))
    }

    /// Whether a token for one call may come here at all.
    pub(crate) fn is_of_one_call(route: &str, path: &str) -> bool {
        OF_ONE_CALL.iter().any(|known| *known == route || *known == path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_method_says_who_may_call_it() {
        let policy = Policy::of_the_contract();
        assert!(policy.methods.len() > 15, "{}", policy.methods.len());
        let silent: Vec<_> = policy.methods().filter(|(_, access)| access.is_none()).collect();
        assert!(silent.is_empty(), "methods without the option access: {silent:?}");
    }

    #[test]
    fn the_rules() {
        let policy = Policy::of_the_contract();
        let calls = "/voicebridge.control.v1.CallService/{*method}";
        let call = |method: &str| format!("/voicebridge.control.v1.CallService/{method}");
        for (route, path, expect) in [
            (calls, call("GetCall"), Rule::Wants(Access::Key(Scope::CallsRead))),
            (calls, call("EndCall"), Rule::Wants(Access::Key(Scope::CallsWrite))),
            (calls, call("HandleWebhook"), Rule::Wants(Access::Open)),
            (calls, call("Nope"), Rule::NoSuchMethod),
            (calls, call("getcall"), Rule::NoSuchMethod),
            (calls, call("GetCall/"), Rule::NoSuchMethod),
            ("/sessions/{call_id}", "/sessions/start".to_owned(), Rule::Wants(Access::Key(Scope::CallsRead))),
            ("/sessions/start", "/sessions/start".to_owned(), Rule::Wants(Access::Key(Scope::CallsWrite))),
            ("/sessions/{call_id}/recording", "/sessions/x/recording".to_owned(), Rule::Undeclared),
            ("/other.Service/{*method}", "/other.Service/Get".to_owned(), Rule::Undeclared),
        ] {
            assert_eq!(policy.rule(route, &path), expect, "{route} {path}");
        }
    }

    #[test]
    fn a_method_that_says_nothing_is_nobodys() {
        let mut pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        pool.add_file_descriptor_proto(prost_types::FileDescriptorProto {
            name: Some("silent.proto".to_owned()),
            package: Some("silent".to_owned()),
            syntax: Some("proto3".to_owned()),
            message_type: vec![prost_types::DescriptorProto { name: Some("M".to_owned()), ..Default::default() }],
            service: vec![prost_types::ServiceDescriptorProto {
                name: Some("S".to_owned()),
                method: vec![prost_types::MethodDescriptorProto {
                    name: Some("Do".to_owned()),
                    input_type: Some(".silent.M".to_owned()),
                    output_type: Some(".silent.M".to_owned()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        })
        .unwrap();
        assert_eq!(Policy::of(&pool).rule("/silent.S/{*method}", "/silent.S/Do"), Rule::Undeclared);
    }
}
