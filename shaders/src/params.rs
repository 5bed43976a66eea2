//! Parameters of the kernels: plain 32-bit fields, in the order in which the WGSL `struct` has them.

use bytemuck::{Pod, Zeroable};

/// Words that the parameters of any kernel fit in: the 128 bytes that immediates offer everywhere.
pub const PARAM_WORDS: usize = 32;

/// Parameters as the devices see them: words, zero-padded.
pub type RawParams = [u32; PARAM_WORDS];

/// A parameter struct of a kernel.
pub trait Params: Pod {
    /// Its fields in WGSL.
    const WGSL: &'static str;

    /// The same words, padded with zeros.
    fn raw(&self) -> RawParams {
        let mut raw = [0; PARAM_WORDS];
        let bytes = bytemuck::bytes_of(self);
        bytemuck::cast_slice_mut::<u32, u8>(&mut raw)[..bytes.len()].copy_from_slice(bytes);
        raw
    }

    /// Reads them back.
    fn from_raw(raw: &RawParams) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(raw);
        bytemuck::pod_read_unaligned(&bytes[..size_of::<Self>()])
    }
}

macro_rules! wgsl {
    ($field:ident [u32; 4]) => {
        "    p0: u32,\n    p1: u32,\n    p2: u32,\n    p3: u32,\n"
    };
    ($field:ident $ty:ident) => {
        concat!("    ", stringify!($field), ": ", stringify!($ty), ",\n")
    };
}

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $ty:tt),* $(,)? })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }
        impl Params for $name {
            const WGSL: &'static str = concat!($(wgsl!($field $ty)),*);
        }
        const _: () = assert!(size_of::<$name>() <= 4 * PARAM_WORDS);
    )*};
}

params! {
    /// For [`crate::Kernel::EmbedRows`].
    EmbedRows {
        /// Tokens `T`.
        n_tokens: u32,
        /// Width `K` of a row.
        dim: u32,
        /// First row of the table that this weight buffer holds; ids outside of it are left alone.
        row0: u32,
        /// Rows that this weight buffer holds.
        rows: u32,
        /// Word offsets of the planes (see [`crate::quant`]).
        planes: [u32; 4],
        /// Factor on each value.
        scale: f32,
    }
    /// For [`crate::Kernel::MatmulQ`] and [`crate::Kernel::MatmulQT`]. For the transposed one, x is dy
    /// (width `n`, columns from `y_col0` of rows of `y_stride`) and y is dx (width `k`): the fields keep
    /// the meaning of the forward product.
    MatmulQ {
        /// Tokens `T`.
        n_tokens: u32,
        /// Input width `K`.
        k: u32,
        /// Rows of W used, the output width `N`.
        n: u32,
        /// First row of W used, counted in the weight buffer.
        w_row0: u32,
        /// Word offsets of the planes.
        planes: [u32; 4],
        /// Words from one row of x to the next.
        x_stride: u32,
        /// Words before the first row of x.
        x_offset: u32,
        /// Words from one row of y to the next.
        y_stride: u32,
        /// Words before the first value of y.
        y_offset: u32,
        /// 1: add to the output, 0: overwrite it.
        accumulate: u32,
    }
    /// For [`crate::Kernel::MatmulGated`]: rows of x and y lie one after the other.
    MatmulGated {
        /// Tokens `T`.
        n_tokens: u32,
        /// Input width `K`.
        k: u32,
        /// Output width `N`; W has twice as many rows.
        n: u32,
        /// Word offsets of the planes.
        planes: [u32; 4],
        /// 0: SiLU; 1: GELU (tanh form).
        kind: u32,
    }
    /// For [`crate::Kernel::MatmulF32`]: `C[m, n] (+)= alpha Σ_k A[m, k] B[k, n]`; strides in words. Up to three such
    /// products with the same strides, in the same buffers, on different words of C: see [`MatmulF32::problems`].
    MatmulF32 {
        /// Rows of A and C.
        m: u32,
        /// Columns of B and C.
        n: u32,
        /// Columns of A, rows of B.
        k: u32,
        /// Words before A.
        a_offset: u32,
        /// Row stride of A.
        a_row: u32,
        /// Column stride of A.
        a_col: u32,
        /// Words before B.
        b_offset: u32,
        /// Row stride of B.
        b_row: u32,
        /// Column stride of B.
        b_col: u32,
        /// Words before C.
        c_offset: u32,
        /// Row stride of C (its column stride is 1).
        c_row: u32,
        /// 1: add to C, 0: overwrite it.
        accumulate: u32,
        /// Factor on the product.
        alpha: f32,
        /// Of a second product; no rows where there is none.
        m1: u32,
        /// Its columns.
        n1: u32,
        /// Its depth.
        k1: u32,
        /// Words before its A.
        a1: u32,
        /// Words before its B.
        b1: u32,
        /// Words before its C.
        c1: u32,
        /// Of a third product; no rows where there is none.
        m2: u32,
        /// Its columns.
        n2: u32,
        /// Its depth.
        k2: u32,
        /// Words before its A.
        a2: u32,
        /// Words before its B.
        b2: u32,
        /// Words before its C.
        c2: u32,
    }
    /// For [`crate::Kernel::RmsNorm`] and [`crate::Kernel::RmsNormBackward`].
    RmsNorm {
        /// Rows normalised.
        rows: u32,
        /// Width of a row.
        dim: u32,
        /// 1: add to the output, 0: overwrite it.
        accumulate: u32,
        /// Added to the mean square.
        eps: f32,
    }
    /// For [`crate::Kernel::AddNorm`].
    AddNorm {
        /// Rows.
        rows: u32,
        /// Width of a row.
        dim: u32,
        /// Added to the mean squares.
        eps: f32,
    }
    /// For [`crate::Kernel::QkvHeads`] and [`crate::Kernel::QkvHeadsBackward`]. The binding `extras` holds the
    /// biases `[(H + 2 G) D]` where there are any, then the weights of the norms of queries `[D]` and keys `[D]`.
    QkvHeads {
        /// Tokens `T`.
        n_tokens: u32,
        /// Query heads `H`.
        n_heads: u32,
        /// Key/value heads `G`.
        n_kv_heads: u32,
        /// Width `D` of a head.
        head_dim: u32,
        /// Leading values of a head that turn (even, ≤ `head_dim`); 0 where none do.
        rope_dim: u32,
        /// 0: pairs are (2i, 2i+1); 1 ("NeoX"): pairs are (i, i + rope_dim/2).
        neox: u32,
        /// 1: `extras` begins with biases.
        bias: u32,
        /// 1: queries and keys are normed.
        norm: u32,
        /// Added to the mean square of the norms.
        eps: f32,
        /// Factor on turned values (YaRN attention factor; 1 otherwise).
        scale: f32,
    }
    /// For [`crate::Kernel::ScatterRows`], [`crate::Kernel::GatherRows`], [`crate::Kernel::MoveRows`].
    Rows {
        /// Rows copied.
        n: u32,
        /// Words in a row.
        width: u32,
    }
    /// For the attention kernels. `map` holds `T` pairs (sequence, position), then for each sequence a
    /// table of `max_blocks` block numbers: position `p` of sequence `s` lives in cell
    /// `table[s][p / block_size] * block_size + p % block_size`. A token sees the positions of its own
    /// sequence's table up to its own, at most `window` of them when `window > 0`.
    Attention {
        /// Tokens `T`.
        n_tokens: u32,
        /// Query heads `H`.
        n_heads: u32,
        /// Key/value heads `G`; `H` is a multiple.
        n_kv_heads: u32,
        /// Width `D` of a head.
        head_dim: u32,
        /// Positions in a block of the cache.
        block_size: u32,
        /// Entries of a sequence's table.
        max_blocks: u32,
        /// Sliding window in tokens, itself included; 0 for none.
        window: u32,
        /// Factor on q·k.
        scale: f32,
    }
    /// For [`crate::Kernel::GatedActivation`] and its backward.
    GatedActivation {
        /// Rows `T`.
        rows: u32,
        /// Gates in a row.
        n: u32,
        /// 0: SiLU; 1: GELU (tanh form).
        kind: u32,
    }
    /// For [`crate::Kernel::LogitsReduce`] and [`crate::Kernel::LogitsBackward`].
    Logits {
        /// Rows `T`.
        n_tokens: u32,
        /// Columns `C` of the chunk.
        cols: u32,
        /// Vocabulary id of the chunk's first column.
        col0: u32,
        /// 1: the first chunk; the state is begun anew.
        first: u32,
    }
    /// For [`crate::Kernel::Add`].
    Add {
        /// Values.
        n: u32,
        /// Factor on y.
        alpha: f32,
    }
    /// For [`crate::Kernel::Fill`].
    Fill {
        /// Values.
        n: u32,
        /// First value filled.
        offset: u32,
        /// What they become.
        value: f32,
    }
    /// For [`crate::Kernel::SquaredNorm`].
    SquaredNorm {
        /// Values of x.
        n: u32,
    }
    /// For [`crate::Kernel::AdamW`] (Loshchilov & Hutter, arXiv 1711.05101; as in PyTorch).
    AdamW {
        /// Values.
        n: u32,
        /// Learning rate.
        lr: f32,
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        eps: f32,
        /// Decoupled weight decay.
        weight_decay: f32,
        /// 1 − beta1^step.
        bias1: f32,
        /// 1 − beta2^step.
        bias2: f32,
        /// Factor on the gradient (clipping by norm).
        grad_scale: f32,
    }
}

impl MatmulF32 {
    /// Products that one dispatch takes at the most.
    pub const MOST: usize = 3;

    /// The products of a dispatch, each for itself.
    pub fn problems(&self) -> impl Iterator<Item = Self> {
        let own = |[m, n, k, a_offset, b_offset, c_offset]: [u32; 6]| {
            let rest = Self { m1: 0, m2: 0, ..*self };
            Self { m, n, k, a_offset, b_offset, c_offset, ..rest }
        };
        let all = [
            [self.m, self.n, self.k, self.a_offset, self.b_offset, self.c_offset],
            [self.m1, self.n1, self.k1, self.a1, self.b1, self.c1],
            [self.m2, self.n2, self.k2, self.a2, self.b2, self.c2],
        ];
        all.into_iter().enumerate().filter(|(i, p)| *i == 0 || p[0] > 0).map(move |(_, p)| own(p))
    }

    /// The same with one product more, which differs in its sizes and where it begins.
    #[must_use]
    pub fn and(mut self, p: &Self) -> Self {
        let [m, n, k, a, b, c] = [p.m, p.n, p.k, p.a_offset, p.b_offset, p.c_offset];
        if self.m1 == 0 {
            (self.m1, self.n1, self.k1, self.a1, self.b1, self.c1) = (m, n, k, a, b, c);
        } else {
            (self.m2, self.n2, self.k2, self.a2, self.b2, self.c2) = (m, n, k, a, b, c);
        }
        self
    }
}
