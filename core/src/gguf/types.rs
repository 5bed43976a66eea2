//! Tensor types of GGUF and the sizes of their blocks.

macro_rules! types {
    ($($name:ident = $id:literal, $weights:literal, $bytes:literal;)*) => {
        /// A tensor type, named as in ggml.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum GgmlType { $($name),* }

        impl GgmlType {
            /// The type with this number in a file.
            pub fn from_id(id: u32) -> Option<Self> {
                Some(match id { $($id => Self::$name,)* _ => return None })
            }

            /// Its number in a file.
            pub fn id(self) -> u32 {
                match self { $(Self::$name => $id),* }
            }

            /// (weights, bytes) of a block.
            pub fn block(self) -> (u64, u64) {
                match self { $(Self::$name => ($weights, $bytes)),* }
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
