//! Tensor types of GGUF and the sizes of their blocks.

macro_rules! types {
    ($($name:ident = $id:literal, $size:literal, $bytes:literal;)*) => {
        /// A tensor type, named as in ggml. A row is stored in blocks of [`GgmlType::block_size`] elements.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum GgmlType { $($name),* }

        impl GgmlType {
            /// All of them.
            pub const ALL: &'static [GgmlType] = &[$(Self::$name),*];

            /// The type with ggml's number `id`; `None` for a number that is not read.
            pub fn from_id(id: u32) -> Option<Self> {
                Some(match id { $($id => Self::$name,)* _ => return None })
            }

            /// ggml's number of the type.
            pub fn id(self) -> u32 {
                match self { $(Self::$name => $id),* }
            }

            /// Elements of a block.
            pub fn block_size(self) -> u64 {
                match self { $(Self::$name => $size),* }
            }

            /// Bytes of a block.
            pub fn block_bytes(self) -> u64 {
                match self { $(Self::$name => $bytes),* }
            }
        }
    };
}

types! {
    F32 = 0, 1, 4;
    F16 = 1, 1, 2;
    Q4_0 = 2, 32, 18;
    Q4_1 = 3, 32, 20;
    Q5_0 = 6, 32, 22;
    Q5_1 = 7, 32, 24;
    Q8_0 = 8, 32, 34;
    Q8_1 = 9, 32, 36;
    Q2_K = 10, 256, 84;
    Q3_K = 11, 256, 110;
    Q4_K = 12, 256, 144;
    Q5_K = 13, 256, 176;
    Q6_K = 14, 256, 210;
    Q8_K = 15, 256, 292;
    IQ4_NL = 20, 32, 18;
    I8 = 24, 1, 1;
    I16 = 25, 1, 2;
    I32 = 26, 1, 4;
    I64 = 27, 1, 8;
    F64 = 28, 1, 8;
    BF16 = 30, 1, 2;
}

impl GgmlType {
    /// (elements, bytes) of a block.
    pub fn block(self) -> (u64, u64) {
        (self.block_size(), self.block_bytes())
    }

    /// Bytes of a tensor of `shape` (GGUF order, the row length first). `None` where the shape is empty, a row
    /// does not fill its blocks, or the product leaves 64 bits.
    pub fn tensor_bytes(self, shape: &[u64]) -> Option<u64> {
        let (size, bytes) = self.block();
        let row = *shape.first()?;
        let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d))?;
        if elements == 0 || !row.is_multiple_of(size) {
            return None;
        }
        (elements / size).checked_mul(bytes)
    }
}

/// ggml's name of a type that is not read: a better message than a bare number.
pub(super) fn unsupported_name(id: u32) -> Option<&'static str> {
    Some(match id {
        4 => "Q4_2, removed from ggml",
        5 => "Q4_3, removed from ggml",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        31 => "Q4_0_4_4, removed from ggml",
        32 => "Q4_0_4_8, removed from ggml",
        33 => "Q4_0_8_8, removed from ggml",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return None,
    })
}

/// The names of the types that are read.
pub(super) fn supported_names() -> String {
    GgmlType::ALL.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_are_never_both_read_and_refused() {
        for id in 0..64 {
            match GgmlType::from_id(id) {
                Some(t) => {
                    assert_eq!(t.id(), id);
                    assert!(unsupported_name(id).is_none());
                }
                None => assert!(!GgmlType::ALL.iter().any(|t| t.id() == id)),
            }
        }
    }

    #[test]
    fn bytes_of_tensors() {
        assert_eq!(GgmlType::F32.tensor_bytes(&[3, 5]), Some(60));
        assert_eq!(GgmlType::Q6_K.tensor_bytes(&[512, 2]), Some(840));
        assert_eq!(GgmlType::Q4_1.tensor_bytes(&[48, 2]), None);
        assert_eq!(GgmlType::F32.tensor_bytes(&[0]), None);
        assert_eq!(GgmlType::F32.tensor_bytes(&[]), None);
        assert_eq!(GgmlType::F32.tensor_bytes(&[1 << 62]), None);
        assert_eq!(GgmlType::F32.tensor_bytes(&[1 << 33, 1 << 33]), None);
    }
}
