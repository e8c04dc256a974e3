//! Every message of the contract with a value of its own in every field: what is personal or secret is not in its Debug
//! output, and everything else is.

#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, fmt::Debug};

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};

include!(concat!(env!("OUT_DIR"), "/registry.rs"));

fn show<M: Message + Default + Debug>(bytes: &[u8]) -> Option<String> {
    Some(format!("{:?}", M::decode(bytes).unwrap()))
}

/// Messages inside messages are followed to here; each is a message by itself as well.
const DEPTH: usize = 4;

/// Makes messages, and notes how each value would look and whether it may be seen.
struct Sentinels {
    hides: [ExtensionDescriptor; 2],
    next: i32,
    made: Vec<Sentinel>,
}

struct Sentinel {
    field: String,
    shown: String,
    hidden: bool,
}

impl Sentinels {
    fn new(pool: &DescriptorPool) -> Self {
        let hides = ["voicebridge.options.v1.pii", "voicebridge.options.v1.secret"];
        Self { hides: hides.map(|name| pool.get_extension_by_name(name).unwrap()), next: 0, made: Vec::new() }
    }

    fn hides(&self, field: &FieldDescriptor) -> bool {
        self.hides.iter().any(|option| field.options().get_extension(option).as_bool() == Some(true))
    }

    /// All fields set; of a oneof the one named, or the first.
    fn message(
        &mut self,
        of: &MessageDescriptor,
        chosen: Option<&FieldDescriptor>,
        hidden: bool,
        depth: usize,
    ) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        let mut taken: HashMap<String, ()> = HashMap::new();
        for field in of.fields() {
            if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
                let other =
                    chosen.is_some_and(|chosen| chosen.containing_oneof().as_ref() == Some(&oneof) && *chosen != field);
                if other || taken.insert(oneof.name().to_owned(), ()).is_some() {
                    continue;
                }
            }
            let hidden = hidden || self.hides(&field);
            if let Some(value) = self.field(&field, hidden, depth) {
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, hidden: bool, depth: usize) -> Option<Value> {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { panic!("a map has entries") };
            let key = self.value(field, &entry.map_entry_key_field().kind(), hidden, depth)?;
            let value = self.value(field, &entry.map_entry_value_field().kind(), hidden, depth)?;
            let Value::String(key) = key else { panic!("keys other than strings are new here") };
            return Some(Value::Map(HashMap::from([(MapKey::String(key), value)])));
        }
        let value = self.value(field, &field.kind(), hidden, depth)?;
        Some(if field.is_list() { Value::List(vec![value]) } else { value })
    }

    fn value(&mut self, field: &FieldDescriptor, kind: &Kind, hidden: bool, depth: usize) -> Option<Value> {
        self.next += 1;
        let number = 100_000 + self.next;
        let (value, shown) = match kind {
            Kind::String => {
                let text = format!("sentinel-{number}");
                (Value::String(text.clone()), text)
            }
            Kind::Bytes => {
                let bytes = format!("sentinel-{number}").into_bytes();
                let shown = format!("{bytes:?}").trim_matches(['[', ']']).to_owned();
                (Value::Bytes(bytes.into()), shown)
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (Value::I32(number), number.to_string()),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => (Value::I64(number.into()), number.to_string()),
            Kind::Uint32 | Kind::Fixed32 => (Value::U32(number as u32), number.to_string()),
            Kind::Uint64 | Kind::Fixed64 => (Value::U64(number as u64), number.to_string()),
            Kind::Float => (Value::F32(number as f32 + 0.5), format!("{number}.5")),
            Kind::Double => (Value::F64(f64::from(number) + 0.5), format!("{number}.5")),
            // Not to be told from others of their kind; none of them may be hidden, so that nobody thinks it was tested.
            Kind::Bool | Kind::Enum(_) => {
                assert!(!hidden, "{}: a bool or an enum that is hidden is new here", field.full_name());
                return Some(if matches!(kind, Kind::Bool) { Value::Bool(true) } else { Value::EnumNumber(1) });
            }
            Kind::Message(_) if depth == 0 => return None,
            Kind::Message(of) => return Some(Value::Message(self.message(of, None, hidden, depth - 1))),
        };
        self.made.push(Sentinel { field: field.full_name().to_owned(), shown, hidden });
        Some(value)
    }
}

#[test]
fn debug_shows_what_may_be_seen_and_nothing_else() {
    let pool = DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
    let (mut messages, mut hidden, mut seen) = (0, 0, 0);
    let ours = pool.all_messages().filter(|message| message.package_name().starts_with("voicebridge."));
    for of in ours.filter(|message| !message.is_map_entry()) {
        let choices = of.fields().filter(|field| field.containing_oneof().is_some()).map(Some);
        for chosen in std::iter::once(None).chain(choices) {
            let mut sentinels = Sentinels::new(&pool);
            let message = sentinels.message(&of, chosen.as_ref(), false, DEPTH);
            let shown = debug_of(of.full_name(), &message.encode_to_vec());
            let shown = shown.unwrap_or_else(|| panic!("{} is not known to the registry", of.full_name()));
            for sentinel in &sentinels.made {
                let Sentinel { field, shown: value, hidden } = sentinel;
                assert_eq!(shown.contains(value), !hidden, "{field} ({value}) in {shown}");
            }
            let mark = shown.contains("<pii>") || shown.contains("<secret>");
            assert_eq!(mark, sentinels.made.iter().any(|sentinel| sentinel.hidden), "{shown}");
            messages += 1;
            hidden += sentinels.made.iter().filter(|sentinel| sentinel.hidden).count();
            seen += sentinels.made.iter().filter(|sentinel| !sentinel.hidden).count();
        }
    }
    println!("{messages} messages, {hidden} values hidden, {seen} seen");
    assert!(messages > 70 && hidden > 40 && seen > 300, "{messages} {hidden} {seen}");
}

#[test]
fn what_is_not_set_is_seen_not_to_be() {
    use crate::types::v1::{Caller, Speaker, Transcript};
    let caller = Caller { name: "Ana".to_owned(), ..Caller::default() };
    assert_eq!(format!("{caller:?}"), r#"Caller { phone_number: "", user_id: "", name: <pii> }"#);
    let said = Transcript { speaker: Speaker::Agent.into(), text: "Bom dia".to_owned(), ..Transcript::default() };
    assert_eq!(
        format!("{said:?}"),
        r#"Transcript { speaker: Agent, item_id: "", text: <pii>, interrupted: false, start_ms: 0, end_ms: 0, language: "" }"#
    );
}
