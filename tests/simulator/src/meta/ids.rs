//! Ids as Meta makes them: base64 of bytes among which is the other person's number, in plain digits.

/// Of those who hide their number. Live ids then hold something else of this length.
const HIDDEN: &str = "0000000000000";

/// `wacid.HBgN...`: a tag and the length of the number, the number, a tag, 32 random hexadecimal digits and an end.
pub(crate) fn call_id(number: Option<&str>, random: &[u8; 16]) -> String {
    let number = number.unwrap_or(HIDDEN).as_bytes();
    let mut bytes = vec![0x1c, 0x18, u8::try_from(number.len()).unwrap_or(u8::MAX)];
    bytes.extend(number);
    bytes.extend([0x15, 0x02, 0x00, 0x12, 0x18, 0x20]);
    bytes.extend(random.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()));
    bytes.push(0);
    format!("wacid.{}", base64_simd::STANDARD.encode_to_string(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in Meta's examples, which begin with HBgL for a number of eleven digits: "Webhooks reference: messages".
    #[test]
    fn an_id_holds_the_number_in_base64() {
        let id = call_id(Some("16505551234"), &[0xab; 16]);
        assert!(id.starts_with("wacid.HBgLMTY1MDU1NTEyMzQVAgASGCBBQkFC"), "{id}");
        assert!(call_id(Some("5511900000001"), &[0; 16]).starts_with("wacid.HBgNNTUxMTkwMDAwMDAwMRUCABIYIDAw"));
        assert_ne!(call_id(None, &[0; 16]), call_id(None, &[1; 16]));
    }
}
