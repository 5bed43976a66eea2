//! Weight types: how a GGUF block is laid out on the devices, and what it means.
//!
//! A GGUF block interleaves scales and quants and is often not a multiple of four bytes. At load
//! [`QuantType::repack`] splits the blocks of a matrix into *planes*, one per [`Field`], each a plain
//! array over all blocks that begins at a multiple of 16 bytes. Nothing is expanded. Both devices read
//! the planes; `wgsl/quant/NAME.wgsl` holds the same unpacking as the twin beside this file.
//!
//! To add a type: one file here, one in `wgsl/quant/`, one line in [`QuantType`]'s table.

mod floats;
mod iq4_nl;
mod k_quants;
mod q4_0;
mod q4_1;
mod q5_0;
mod q5_1;
mod q8_0;

#[cfg(all(feature = "cpu", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) use iq4_nl::LEVELS;

/// A range of bytes in a GGUF block that becomes a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Offset in the GGUF block.
    pub offset: usize,
    /// Bytes in each block.
    pub bytes: usize,
}

const fn field(offset: usize, bytes: usize) -> Field {
    Field { offset, bytes }
}

/// One block, seen as its pieces of each plane.
pub type BlockView<'a> = [&'a [u8]; 4];

/// What a weight type is.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Weights in a block.
    pub weights: usize,
    /// Bytes of a GGUF block.
    pub bytes: usize,
    /// The planes, in order.
    pub fields: &'static [Field],
    /// Expands one block; `out` has `weights` places.
    pub dequantize: fn(&BlockView<'_>, &mut [f32]),
}

macro_rules! quant_types {
    ($($(#[$doc:meta])* $name:ident = $layout:path, $file:literal;)*) => {
        /// The types that weights may have, named as in GGUF.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(non_camel_case_types)]
        pub enum QuantType { $($(#[$doc])* $name),* }

        impl QuantType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its block.
            pub const fn layout(self) -> Layout {
                match self { $(Self::$name => $layout),* }
            }

            /// The file name of its unpacking in `wgsl/quant/`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $file),* }
            }
        }
    };
}

quant_types! {
    /// 32-bit floats.
    F32 = floats::F32, "f32";
    /// 16-bit floats.
    F16 = floats::F16, "f16";
    /// bfloat16.
    BF16 = floats::BF16, "bf16";
    /// 4 bits, a scale for 32.
    Q4_0 = q4_0::LAYOUT, "q4_0";
    /// 4 bits, a scale and a minimum for 32.
    Q4_1 = q4_1::LAYOUT, "q4_1";
    /// 5 bits, a scale for 32.
    Q5_0 = q5_0::LAYOUT, "q5_0";
    /// 5 bits, a scale and a minimum for 32.
    Q5_1 = q5_1::LAYOUT, "q5_1";
    /// 8 bits, a scale for 32.
    Q8_0 = q8_0::LAYOUT, "q8_0";
    /// 2 bits in super-blocks of 256.
    Q2_K = k_quants::Q2_K, "q2_k";
    /// 3 bits in super-blocks of 256.
    Q3_K = k_quants::Q3_K, "q3_k";
    /// 4 bits in super-blocks of 256.
    Q4_K = k_quants::Q4_K, "q4_k";
    /// 5 bits in super-blocks of 256.
    Q5_K = k_quants::Q5_K, "q5_k";
    /// 6 bits in super-blocks of 256.
    Q6_K = k_quants::Q6_K, "q6_k";
    /// 4 bits into a table of 16 unevenly spaced values, a scale for 32.
    IQ4_NL = iq4_nl::LAYOUT, "iq4_nl";
}

/// Where the planes of a matrix begin, in words, and how long the whole is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planes {
    /// First word of each plane; 0 where there is none.
    pub offsets: [u32; 4],
    /// Words in all.
    pub words: usize,
}

impl QuantType {
    /// Blocks in `weights` weights, or `None` where they don't fill whole blocks.
    pub const fn blocks(self, weights: usize) -> Option<usize> {
        let per = self.layout().weights;
        if weights.is_multiple_of(per) { Some(weights / per) } else { None }
    }

    /// The planes of a matrix of `blocks` blocks.
    pub fn planes(self, blocks: usize) -> Planes {
        let mut planes = Planes::default();
        for (i, field) in self.layout().fields.iter().enumerate() {
            planes.offsets[i] = planes.words as u32;
            planes.words += (blocks * field.bytes).div_ceil(16) * 4;
        }
        planes
    }

    /// Splits GGUF blocks into planes, into `out` of [`Planes::words`] words.
    ///
    /// `raw` holds whole blocks; a partial one at its end is ignored.
    pub fn repack(self, raw: &[u8], out: &mut [u32]) {
        let layout = self.layout();
        let blocks = raw.len() / layout.bytes;
        let planes = self.planes(blocks);
        for (i, field) in layout.fields.iter().enumerate() {
            let start = planes.offsets[i] as usize;
            let plane: &mut [u8] = bytemuck::cast_slice_mut(&mut out[start..]);
            for (block, dst) in raw.chunks_exact(layout.bytes).zip(plane.chunks_exact_mut(field.bytes)) {
                dst.copy_from_slice(&block[field.offset..][..field.bytes]);
            }
        }
    }

    /// Expands `out.len()` weights from block `first` on. `out` covers whole blocks.
    pub fn dequantize(self, words: &[u32], planes: &[u32; 4], first: usize, out: &mut [f32]) {
        let layout = self.layout();
        let bytes: &[u8] = bytemuck::cast_slice(words);
        for (i, out) in out.chunks_exact_mut(layout.weights).enumerate() {
            let mut view: BlockView<'_> = [&[]; 4];
            for (piece, (field, start)) in view.iter_mut().zip(layout.fields.iter().zip(planes)) {
                *piece = &bytes[*start as usize * 4 + (first + i) * field.bytes..][..field.bytes];
            }
            (layout.dequantize)(&view, out);
        }
    }

    /// Expands raw GGUF blocks; what a judge compares with the `gguf` package.
    pub fn dequantize_gguf(self, raw: &[u8], out: &mut [f32]) {
        let layout = self.layout();
        for (block, out) in raw.chunks_exact(layout.bytes).zip(out.chunks_exact_mut(layout.weights)) {
            let mut view: BlockView<'_> = [&[]; 4];
            for (piece, field) in view.iter_mut().zip(layout.fields) {
                *piece = &block[field.offset..][..field.bytes];
            }
            (layout.dequantize)(&view, out);
        }
    }
}

/// A little-endian half at byte `i`.
fn f16_at(bytes: &[u8], i: usize) -> f32 {
    half::f16::from_le_bytes([bytes[i], bytes[i + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_and_blocks_expand_to_the_same_values() {
        for &q in QuantType::ALL {
            let layout = q.layout();
            assert_eq!(layout.fields.iter().map(|f| f.bytes).sum::<usize>(), layout.bytes, "{q:?}");
            let blocks = 5;
            let raw: Vec<u8> = (0..blocks * layout.bytes).map(|i| (i * 37 % 113) as u8).collect();
            let mut want = vec![0.0; blocks * layout.weights];
            q.dequantize_gguf(&raw, &mut want);
            let planes = q.planes(blocks);
            let mut words = vec![0; planes.words];
            q.repack(&raw, &mut words);
            let mut got = vec![1.0; blocks * layout.weights];
            q.dequantize(&words, &planes.offsets, 0, &mut got);
            assert!(got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{q:?}");
            q.dequantize(&words, &planes.offsets, 2, &mut got[..layout.weights]);
            assert!(
                got.iter()
                    .zip(&want[2 * layout.weights..])
                    .take(layout.weights)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
        }
    }
}
