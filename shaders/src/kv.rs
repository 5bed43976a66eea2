//! How keys and values lie in the cache: a row for each head of a cell.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Values that share a scale in [`KvType::Q8_0`].
const BLOCK: usize = 32;
/// Words of such a block: its scale (f32), then four values to a word.
const BLOCK_WORDS: usize = 1 + BLOCK / 4;
/// The widest head that a GPU stages on its way into a packed cache.
const WIDEST: usize = 256;

/// The type of the values in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KvType {
    /// Floats: exact, and the only one that a backward pass goes through.
    #[default]
    F32,
    /// Halves, two to a word: half of the memory.
    F16,
    /// Eight bits with a scale for 32 values: 9 words for 32 values, 28 % of the memory.
    Q8_0,
}

impl KvType {
    /// All of them.
    pub const ALL: &[Self] = &[Self::F32, Self::F16, Self::Q8_0];

    /// Its name: "f32", "f16", "q8_0".
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// Whether heads of this width can be kept so.
    pub const fn takes(self, head_dim: usize) -> bool {
        match self {
            Self::F32 => true,
            Self::F16 => head_dim.is_multiple_of(2) && head_dim <= WIDEST,
            Self::Q8_0 => head_dim.is_multiple_of(BLOCK) && head_dim <= WIDEST,
        }
    }

    /// Words of a head's row.
    pub const fn words(self, head_dim: usize) -> usize {
        match self {
            Self::F32 => head_dim,
            Self::F16 => head_dim / 2,
            Self::Q8_0 => head_dim / BLOCK * BLOCK_WORDS,
        }
    }

    /// Writes a row.
    pub fn store(self, values: &[f32], row: &mut [u32]) {
        match self {
            Self::F32 => row.copy_from_slice(bytemuck::cast_slice(values)),
            Self::F16 => bytemuck::cast_slice_mut::<u32, f16>(row).convert_from_f32_slice(values),
            Self::Q8_0 => {
                for (words, values) in row.chunks_exact_mut(BLOCK_WORDS).zip(values.chunks_exact(BLOCK)) {
                    let scale = values.iter().fold(0.0, |m: f32, x| m.max(x.abs())) / 127.0;
                    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
                    words[0] = scale.to_bits();
                    for (word, four) in words[1..].iter_mut().zip(values.chunks_exact(4)) {
                        let byte = |i: usize| u32::from(((four[i] * inverse).round_ties_even() as i8) as u8) << (8 * i);
                        *word = byte(0) | byte(1) | byte(2) | byte(3);
                    }
                }
            }
        }
    }

    /// Reads a row; `values` is as wide as the head.
    #[inline(always)]
    pub fn load(self, row: &[u32], values: &mut [f32]) {
        match self {
            Self::F32 => values.copy_from_slice(bytemuck::cast_slice(row)),
            Self::F16 => bytemuck::cast_slice::<u32, f16>(row).convert_to_f32_slice(values),
            Self::Q8_0 => {
                for (values, words) in values.chunks_exact_mut(BLOCK).zip(row.chunks_exact(BLOCK_WORDS)) {
                    let scale = f32::from_bits(words[0]);
                    let bytes: &[i8] = bytemuck::cast_slice(&words[1..]);
                    values.iter_mut().zip(bytes).for_each(|(x, b)| *x = scale * f32::from(*b));
                }
            }
        }
    }
}

impl std::str::FromStr for KvType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|t| t.name() == name);
        found.ok_or_else(|| format!("{name:?} is no type of a cache; there are f32, f16 and q8_0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back_within_half_a_step() {
        let values: Vec<f32> = (0..96).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013 * (1 + i / 32) as f32).collect();
        for &kv in KvType::ALL {
            let mut row = vec![0; kv.words(values.len())];
            kv.store(&values, &mut row);
            let mut back = vec![f32::NAN; values.len()];
            kv.load(&row, &mut back);
            for (block, back) in values.chunks(BLOCK).zip(back.chunks(BLOCK)) {
                let most = block.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
                for (x, y) in block.iter().zip(back) {
                    let step = match kv {
                        KvType::F32 => 0.0,
                        KvType::F16 => x.abs() * 2f32.powi(-11),
                        KvType::Q8_0 => most / 127.0 * 0.5001,
                    };
                    assert!((x - y).abs() <= step, "{kv:?}: {x} came back as {y}");
                }
            }
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let mut row = vec![7; KvType::Q8_0.words(32)];
        KvType::Q8_0.store(&[0.0; 32], &mut row);
        assert!(row.iter().all(|w| *w == 0));
    }
}
