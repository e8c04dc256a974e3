//! Whose a function is.
//!
//! The rule: a function's instructions, with all that was inlined into it, are of the crate that defines the function: the
//! first crate of its symbol, of `<T as Trait>::method` that of `T`, or of the trait if `T` is no path. A symbol without a
//! path is C or assembler: of the library it is in, of ring or the compiler's own by its name, else of libopus, the only
//! other C in the program.
//!
//! Code that everybody calls (the standard library, serde, libc) has no owner by this rule: where the compiler did not inline
//! it, it is its callers', see [`crate::shares`].

use crate::profile::Function;

/// Who calls others' code for their own ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    Audio,
    Session,
    Node,
    Rtc,
    Crypto,
    Libopus,
    /// The network of the voice detection, and the resampler before it.
    Vad,
    /// This program, in the node's place.
    Drive,
    Other,
}

/// Whose code everybody calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Shared {
    /// The standard library, and bytes.
    Std,
    /// serde and base64: the text of the provider's messages.
    Text,
    Libc,
    /// What counts allocations; in this program only.
    Counter,
}

/// Whose it is, or whose code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Whose {
    Owner(Owner),
    Shared(Shared),
}

pub(crate) const OWNERS: [(Owner, &str); 9] = [
    (Owner::Audio, "voicebridge-audio"),
    (Owner::Session, "voicebridge-session"),
    (Owner::Node, "voicebridge-node"),
    (Owner::Rtc, "rtc"),
    (Owner::Crypto, "crypto"),
    (Owner::Libopus, "libopus"),
    (Owner::Vad, "earshot, rubato"),
    (Owner::Drive, "this measurement"),
    (Owner::Other, "other"),
];

impl Owner {
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Audio | Self::Session | Self::Node)
    }
}

pub(crate) fn whose(function: &Function) -> Whose {
    if function.object.contains(".so") {
        return Whose::Shared(Shared::Libc);
    }
    match crate_of(&function.name) {
        Some(name) => of_crate(name),
        None if is_ring(&function.name) => Whose::Owner(Owner::Crypto),
        None if is_builtin(&function.name) => Whose::Shared(Shared::Std),
        None => Whose::Owner(Owner::Libopus),
    }
}

fn of_crate(name: &str) -> Whose {
    Whose::Owner(match name {
        "voicebridge_audio" => Owner::Audio,
        "voicebridge_session" => Owner::Session,
        "voicebridge_node" => Owner::Node,
        "voicebridge_load" | "bench_instructions" => Owner::Drive,
        // The one calls the other.
        "allocation_counter" | "__rustc" => return Whose::Shared(Shared::Counter),
        "serde" | "serde_core" | "serde_json" | "base64_simd" | "vsimd" | "itoa" | "memchr" => {
            return Whose::Shared(Shared::Text);
        }
        "core" | "alloc" | "std" | "bytes" | "hashbrown" | "compiler_builtins" => return Whose::Shared(Shared::Std),
        "earshot" | "rubato" | "realfft" | "rustfft" | "audioadapter" | "audioadapter_buffers" | "num_complex" => {
            Owner::Vad
        }
        "audiopus" | "audiopus_sys" | "opusic_sys" => Owner::Libopus,
        "ring" | "sha2" | "sha1" | "hmac" | "aes" | "aes_gcm" | "ghash" | "polyval" | "subtle" | "digest"
        | "cipher" | "crypto_common" | "block_buffer" | "rand" | "rand_core" | "rand_chacha" | "chacha20"
        | "getrandom" | "rtc_crypto" => Owner::Crypto,
        "rtc" | "sansio" => Owner::Rtc,
        name if name.starts_with("rtc_") => Owner::Rtc,
        _ => Owner::Other,
    })
}

/// The crate that a symbol's path begins with.
fn crate_of(name: &str) -> Option<&str> {
    let name = name.trim_start_matches(['&', '*', '[', '(']);
    let name = ["mut ", "dyn ", "const "].iter().fold(name, |name, word| name.strip_prefix(word).unwrap_or(name));
    if let Some(inside) = name.strip_prefix('<') {
        let (of, rest) = split_type(inside);
        return crate_of(of).or_else(|| crate_of(rest.strip_prefix(" as ")?));
    }
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    name[end..].starts_with("::").then_some(&name[..end])
}

/// The type at the front of `T as Trait>::method`, and what follows it.
fn split_type(text: &str) -> (&str, &str) {
    let mut depth = 0;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            // An arrow is no bracket.
            b'>' if text[..index].ends_with('-') => {}
            b'>' if depth == 0 => return text.split_at(index),
            b'>' | b')' | b']' => depth -= 1,
            b' ' if depth == 0 && text[index..].starts_with(" as ") => return text.split_at(index),
            _ => {}
        }
    }
    (text, "")
}

/// Assembler and C of ring carry its name and version, or the names they have in BoringSSL.
fn is_ring(name: &str) -> bool {
    const NAMES: [&str; 6] = ["ring_core", "aes_hw", "aesni", "gcm_", "sha1_block", "sha256_block"];
    NAMES.iter().any(|part| name.contains(part))
}

/// What the compiler calls where the processor has no instruction for it.
fn is_builtin(name: &str) -> bool {
    const NAMES: [&str; 10] =
        ["round", "roundf", "floor", "floorf", "ceil", "ceilf", "trunc", "truncf", "rint", "rintf"];
    NAMES.contains(&name) || (name.starts_with("__") && name.ends_with("ti3"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_owners() {
        let check = |name: &str, object: &str, expect: Whose| {
            let function = Function { name: name.to_owned(), object: object.to_owned() };
            assert_eq!(whose(&function), expect, "{name}");
        };
        let ours = |name: &str, owner: Owner| check(name, "/target/release/program", Whose::Owner(owner));
        let shared = |name: &str, shared: Shared| check(name, "/target/release/program", Whose::Shared(shared));
        ours("voicebridge_audio::uplink::Uplink::audio", Owner::Audio);
        ours("<voicebridge_node::peer::engine::Engine as voicebridge_node::peer::Peer>::poll", Owner::Node);
        ours("<&mut voicebridge_session::provider::Outbox as core::fmt::Debug>::fmt", Owner::Session);
        ours("<F as voicebridge_audio::Sink>::take", Owner::Audio);
        ours("rtc_srtp::context::srtp::<impl rtc_srtp::context::Context>::encrypt_rtp", Owner::Rtc);
        ours("ring_core_0_17_14__aes_gcm_enc_update_vaes_avx2", Owner::Crypto);
        ours("silk_NSQ_sse4_1", Owner::Libopus);
        ours("tracing::span::Span::enter", Owner::Other);
        shared("roundf", Shared::Std);
        shared("__udivti3", Shared::Std);
        shared("__rustc::__rust_alloc", Shared::Counter);
        shared("core::ops::function::FnOnce::call_once{{vtable.shim}}", Shared::Std);
        shared("<alloc::vec::Vec<T,A> as alloc::vec::spec_extend::SpecExtend<T,I>>::spec_extend", Shared::Std);
        shared("<T as serde::de::DeserializeSeed>::deserialize", Shared::Text);
        shared("<[T] as core::fmt::Debug>::fmt", Shared::Std);
        shared("<fn(A) -> B as core::fmt::Debug>::fmt", Shared::Std);
        check("malloc", "/usr/lib/x86_64-linux-gnu/libc.so.6", Whose::Shared(Shared::Libc));
    }
}
