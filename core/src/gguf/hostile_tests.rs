//! Files that lie: every one must end in an error that names field and byte, without a panic.

use proptest::prelude::*;

use super::{GgufError, GgufFile, GgufWriter};

fn small() -> Vec<u8> {
    let values = [1.0f32, 2.0, 3.0, 4.0];
    let mut w = GgufWriter::new()
        .str("general.architecture", "llama")
        .u32("n", 3)
        .bool("b", true)
        .strings("tokens", &["a", "bc", "def"])
        .f32s("scores", &[0.0, 1.0]);
    w.tensor("a", &[4], &values);
    w.tensor("b", &[2, 2], &values);
    let mut out = Vec::new();
    w.write(&mut out).unwrap();
    out
}

/// A header by hand: version 3, counts, then `rest`.
fn header(tensors: u64, keys: u64, rest: &[u8]) -> Vec<u8> {
    [b"GGUF", &3u32.to_le_bytes()[..], &tensors.to_le_bytes(), &keys.to_le_bytes(), rest].concat()
}

fn string(s: &str) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat()
}

fn key(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&string(name)[..], &kind.to_le_bytes(), value].concat()
}

fn tensor(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|d| d.to_le_bytes()).collect();
    [&string(name)[..], &(shape.len() as u32).to_le_bytes(), &dims, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
}

fn file_of(tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    let mut out = header(tensors.len() as u64, 0, &tensors.concat());
    out.resize(out.len().next_multiple_of(32) + data, 0);
    out
}

fn refusal(bytes: Vec<u8>) -> GgufError {
    GgufFile::from_bytes(bytes).expect_err("it should be refused")
}

/// Reads everything that a caller could read.
fn touch(f: &GgufFile) {
    let m = f.metadata();
    for k in m.keys() {
        let _ = (m.opt_str(k), m.opt_u32(k), m.opt_u64(k), m.opt_f32(k), m.opt_bool(k));
        let _ = (m.opt_strings(k), m.opt_f32s(k), m.opt_i32s(k));
    }
    for t in f.tensors() {
        assert_eq!(f.data(t).len() as u64, t.bytes);
    }
    f.fingerprint();
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = small();
    // The padding after the last tensor is not needed.
    let needed = whole.len() - 16;
    for cut in 0..needed {
        refusal(whole[..cut].to_vec());
    }
    assert!(GgufFile::from_bytes(whole[..needed].to_vec()).is_ok());
    assert!(
        matches!(refusal(whole[..12].to_vec()), GgufError::Truncated { field, offset: 8, .. } if field == "tensor count")
    );
}

#[test]
fn magic_version_and_byte_order() {
    let mut b = small();
    b[0] = b'X';
    assert!(matches!(refusal(b), GgufError::BadMagic { found } if found == b"XGUF"));
    for v in [0u32, 1, 4, u32::MAX] {
        let mut b = small();
        b[4..8].copy_from_slice(&v.to_le_bytes());
        assert!(matches!(refusal(b), GgufError::BadVersion { found } if found == v));
    }
    let mut b = small();
    b[4..8].copy_from_slice(&3u32.to_be_bytes());
    assert!(matches!(refusal(b), GgufError::BigEndian));
    let mut b = small();
    b[..4].reverse();
    assert!(matches!(refusal(b), GgufError::BigEndian));
    let mut b = small();
    b[4] = 2;
    assert_eq!(GgufFile::from_bytes(b).unwrap().version(), 2);
    assert!(matches!(refusal(Vec::new()), GgufError::BadMagic { .. }));
}

#[test]
fn counts_and_lengths_beyond_the_file() {
    for (tensors, keys) in [(u64::MAX, 0), (0, u64::MAX), (1 << 40, 1), (1, 1)] {
        assert!(matches!(refusal(header(tensors, keys, &[])), GgufError::BadCount { .. }));
    }
    let long = [&u64::MAX.to_le_bytes()[..], &[0; 32]].concat();
    assert!(
        matches!(refusal(header(0, 1, &long)), GgufError::Truncated { field, offset: 32, .. } if field == "metadata key 0")
    );
    let value = key("k", 8, &(1u64 << 60).to_le_bytes());
    assert!(matches!(refusal(header(0, 1, &value)), GgufError::Truncated { field, .. } if field.contains('k')));
    for element in [0u32, 4, 8, 9, 10] {
        for count in [u64::MAX, u64::MAX / 4, 1 << 33] {
            let array = key("k", 9, &[&element.to_le_bytes()[..], &count.to_le_bytes(), &[0; 64]].concat());
            assert!(matches!(refusal(header(0, 1, &array)), GgufError::BadCount { .. }));
        }
    }
}

#[test]
fn values_that_cannot_be() {
    assert!(matches!(refusal(header(0, 1, &key("k", 13, &[0; 8]))), GgufError::BadType { id: 13, offset: 33, .. }));
    assert!(matches!(refusal(header(0, 1, &key("k", 7, &[2; 8]))), GgufError::Invalid { offset: 37, .. }));
    let utf8 = key("k", 8, &[&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat());
    assert!(matches!(refusal(header(0, 1, &utf8)), GgufError::NotUtf8 { .. }));
    let twice = [key("k", 0, &[1]), key("k", 0, &[1])].concat();
    assert!(matches!(refusal(header(0, 2, &twice)), GgufError::Duplicate { offset: 38, .. }));
    let booleans = key("k", 9, &[&7u32.to_le_bytes()[..], &2u64.to_le_bytes(), &[1, 3]].concat());
    assert!(matches!(refusal(header(0, 1, &booleans)), GgufError::Invalid { .. }));
}

#[test]
fn nested_arrays() {
    let nest = |depth: usize| {
        let mut v = Vec::new();
        for _ in 1..depth {
            v.extend([&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat());
        }
        v.extend([&0u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[5]].concat());
        header(0, 1, &key("k", 9, &v))
    };
    assert!(GgufFile::from_bytes(nest(4)).is_ok());
    for depth in [5, 1000, 100_000] {
        assert!(matches!(refusal(nest(depth)), GgufError::TooDeep { .. }));
    }
}

#[test]
fn alignments() {
    let with = |n: u32| header(0, 1, &key("general.alignment", 4, &n.to_le_bytes()));
    for n in [1u32, 8, 64, 1 << 20] {
        assert!(GgufFile::from_bytes(with(n)).is_ok());
    }
    for n in [0u32, 3, 24, 1 << 21, u32::MAX] {
        assert!(matches!(refusal(with(n)), GgufError::Invalid { field, .. } if field == "general.alignment"));
    }
    assert!(matches!(refusal(header(0, 1, &key("general.alignment", 6, &[0; 4]))), GgufError::WrongType { .. }));
}

#[test]
fn tensors_that_cannot_be() {
    let ok = file_of(&[tensor("a", &[8], 0, 0), tensor("b", &[8], 0, 32)], 64);
    assert!(GgufFile::from_bytes(ok).is_ok());
    let twice = file_of(&[tensor("a", &[8], 0, 0), tensor("a", &[8], 0, 32)], 64);
    assert!(matches!(refusal(twice), GgufError::Duplicate { field, .. } if field == "tensor a"));
    let overlap = file_of(&[tensor("a", &[8], 0, 32), tensor("b", &[9], 0, 0)], 128);
    assert!(matches!(refusal(overlap), GgufError::Overlap { other, .. } if other == "b"));
    assert!(matches!(refusal(file_of(&[tensor("a", &[8], 0, 8)], 64)), GgufError::Invalid { offset: 24, .. }));
    for offset in [!31, 1 << 40, 64] {
        assert!(matches!(refusal(file_of(&[tensor("a", &[8], 0, offset)], 64)), GgufError::OutOfBounds { .. }));
    }
    let shapes: [&[u64]; 7] =
        [&[], &[0], &[1, 1, 1, 1, 1], &[u64::MAX], &[1 << 32, 1 << 32], &[1 << 61, 4], &[1, 0, 2]];
    for shape in shapes {
        assert!(matches!(refusal(file_of(&[tensor("a", shape, 0, 0)], 64)), GgufError::Invalid { .. }), "{shape:?}");
    }
    assert!(matches!(refusal(file_of(&[tensor("a", &[33], 8, 0)], 64)), GgufError::Invalid { .. }));
    let e = refusal(file_of(&[tensor("a", &[256], 16, 0)], 512)).to_string();
    assert!(e.contains("IQ2_XXS") && e.contains("Q6_K"), "{e}");
    assert!(refusal(file_of(&[tensor("a", &[256], 77, 0)], 512)).to_string().contains("type 77 at byte"));
}

#[test]
fn the_path_is_in_the_error() {
    let e = GgufFile::open(std::path::Path::new("/nonexistent/x.gguf")).unwrap_err();
    assert!(e.to_string().contains("/nonexistent/x.gguf"));
    assert!(matches!(e.root(), GgufError::Io(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn flipped_bytes_never_panic(flips in proptest::collection::vec((0usize..1000, any::<u8>()), 1..8)) {
        let mut b = small();
        let len = b.len();
        for (at, to) in flips {
            b[at % len] = to;
        }
        if let Ok(f) = GgufFile::from_bytes(b) {
            touch(&f);
        }
    }

    #[test]
    fn noise_after_the_magic_never_panics(rest in proptest::collection::vec(any::<u8>(), 0..400), counts in any::<[u8; 2]>()) {
        let b = header(counts[0].into(), (counts[1] % 4).into(), &rest);
        if let Ok(f) = GgufFile::from_bytes(b) {
            touch(&f);
        }
    }
}
