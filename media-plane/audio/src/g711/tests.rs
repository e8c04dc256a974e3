//! Against the values of tables 1 and 2 of ITU-T G.711 (11/1988).

use super::*;

/// Decision values: where segments end, and how many intervals each has. In 13 bits (A), 14 bits (mu).
const A_SEGMENTS: [(i32, i32); 7] = [(64, 32), (128, 16), (256, 16), (512, 16), (1_024, 16), (2_048, 16), (4_096, 16)];
const MU_SEGMENTS: [(i32, i32); 8] =
    [(31, 16), (95, 16), (223, 16), (479, 16), (991, 16), (2_015, 16), (4_063, 16), (8_159, 16)];

/// The interval a magnitude lies in, counted from 0, by its decision values alone.
fn interval(law: Law, magnitude: i32) -> u8 {
    let (segments, mut begin): (&[(i32, i32)], i32) = match law {
        Law::A => (&A_SEGMENTS, 0),
        Law::Mu => (&MU_SEGMENTS, -1),
    };
    let mut number = 0;
    for &(end, intervals) in segments {
        let step = (end - begin) / intervals;
        if magnitude < end {
            return (number + (magnitude - begin) / step) as u8;
        }
        (begin, number) = (end, number + intervals);
    }
    127
}

#[test]
fn decoder_output_values_of_the_standard() {
    // Character signal without inversion, decoder output value. Mu-law in 14 bits, A-law in 13.
    let check = |law: Law, number: u8, expect: i16| {
        let (byte, scale) = match law {
            Law::A => ((0x80 | number) ^ 0x55, 8),
            Law::Mu => (!number, 4),
        };
        assert_eq!(law.decode(byte), expect * scale, "{law:?} {number}");
        assert_eq!(law.decode(byte ^ 0x80), -expect * scale, "{law:?} -{number}");
    };
    for (number, expect) in [
        (0, 1),
        (1, 3),
        (15, 31),
        (16, 33),
        (31, 63),
        (32, 66),
        (47, 126),
        (48, 132),
        (63, 252),
        (64, 264),
        (79, 504),
        (80, 528),
        (95, 1_008),
        (96, 1_056),
        (111, 2_016),
        (112, 2_112),
        (127, 4_032),
    ] {
        check(Law::A, number, expect);
    }
    for (number, expect) in [
        (0, 0),
        (1, 2),
        (15, 30),
        (16, 33),
        (31, 93),
        (32, 99),
        (47, 219),
        (48, 231),
        (63, 471),
        (64, 495),
        (79, 975),
        (80, 1_023),
        (95, 1_983),
        (96, 2_079),
        (111, 3_999),
        (112, 4_191),
        (127, 8_031),
    ] {
        check(Law::Mu, number, expect);
    }
}

#[test]
fn every_sample_falls_into_its_interval() {
    for sample in i16::MIN..=i16::MAX {
        let magnitude = i32::from(if sample < 0 { !sample } else { sample });
        let sign = if sample < 0 { 0 } else { 0x80 };
        let a = interval(Law::A, magnitude >> 3);
        assert_eq!(Law::A.encode(sample), (sign | a) ^ 0x55, "A {sample}");
        let mu = interval(Law::Mu, magnitude >> 2);
        assert_eq!(Law::Mu.encode(sample), (sign ^ 0x80 | mu) ^ 0xFF, "mu {sample}");
    }
}

#[test]
fn bytes_survive() {
    for byte in 0..=u8::MAX {
        assert_eq!(Law::A.encode(Law::A.decode(byte)), byte);
        let expect = if byte == 0x7F { 0xFF } else { byte };
        assert_eq!(Law::Mu.encode(Law::Mu.decode(byte)), expect);
    }
    assert_eq!((Law::Mu.silence(), Law::A.silence()), (0xFF, 0xD5));
}
