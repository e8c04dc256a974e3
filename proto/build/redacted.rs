//! Debug output of messages that hold personal data or secrets, by the options `pii` and `secret` of the contract.
//!
//! prost derives Debug for a message as a whole. For messages with such fields it is told not to, and an implementation is
//! written here that shows `<pii>` or `<secret>` in their place. So whoever logs a message logs none of it.

use std::{collections::BTreeMap, fmt::Write as _};

use protox::prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor};

/// What is shown in place of a value.
struct Options {
    marks: [(ExtensionDescriptor, &'static str); 2],
}

impl Options {
    fn of(pool: &DescriptorPool) -> Result<Self, String> {
        let option = |name: &str| {
            let name = format!("voicebridge.options.v1.{name}");
            pool.get_extension_by_name(&name).ok_or(format!("the contract has no option {name}"))
        };
        Ok(Self { marks: [(option("secret")?, "<secret>"), (option("pii")?, "<pii>")] })
    }

    fn mark(&self, field: &FieldDescriptor) -> Option<&'static str> {
        let options = field.options();
        let is_set = |option: &ExtensionDescriptor| options.get_extension(option).as_bool() == Some(true);
        self.marks.iter().find(|(option, _)| is_set(option)).map(|(_, mark)| *mark)
    }
}

/// Messages whose Debug is not to be derived, as paths, and the implementations by package.
pub(crate) fn write(pool: &DescriptorPool) -> Result<(Vec<String>, BTreeMap<String, String>), String> {
    let options = Options::of(pool)?;
    let (mut paths, mut sources) = (Vec::new(), BTreeMap::new());
    let ours = pool.all_messages().filter(|message| message.package_name().starts_with("voicebridge."));
    for message in ours.filter(|message| !message.is_map_entry()) {
        let source: &mut String = sources.entry(message.package_name().to_owned()).or_default();
        if message.fields().any(|field| options.mark(&field).is_some()) {
            paths.push(format!(".{}", message.full_name()));
            implement(&message, &options, source)?;
        }
    }
    Ok((paths, sources))
}

fn implement(message: &MessageDescriptor, options: &Options, source: &mut String) -> Result<(), String> {
    let name = message.name();
    if message.parent_message().is_some() || message.oneofs().any(|oneof| !oneof.is_synthetic()) {
        return Err(format!("{name}: messages inside others, and those with a oneof, cannot have redacted fields yet"));
    }
    let mut fields = String::new();
    for field in message.fields() {
        let name = field.name();
        let shown = match (options.mark(&field), field.kind()) {
            // What is not there may be seen not to be there.
            (Some(mark), _) => format!("&crate::redacted(&self.{name}, {mark:?})"),
            (None, Kind::Enum(_)) if !field.is_list() => format!("&self.{name}()"),
            (None, _) => format!("&self.{name}"),
        };
        let _ = write!(fields, "\n            .field({name:?}, {shown})");
    }
    let _ = write!(
        source,
        "impl ::core::fmt::Debug for {name} {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        f.debug_struct({name:?}){fields}
            .finish()
    }}
}}
",
    );
    Ok(())
}

/// `debug_of(name, bytes)`: a message of the contract decoded and shown; for the tests, which ask for all of them.
pub(crate) fn registry(pool: &DescriptorPool) -> String {
    let ours = pool.all_messages().filter(|message| message.package_name().starts_with("voicebridge."));
    let arms: String = ours
        .filter(|message| !message.is_map_entry())
        .map(|message| {
            let path = message.full_name().trim_start_matches("voicebridge.").replace('.', "::");
            format!("        {:?} => show::<crate::{path}>(bytes),\n", message.full_name())
        })
        .collect();
    format!(
        "fn debug_of(name: &str, bytes: &[u8]) -> Option<String> {{\n    match name {{\n{arms}        _ => None,\n    }}\n}}\n"
    )
}
