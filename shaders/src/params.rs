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
    /// For [`crate::Kernel::MatmulFew`]. With gates x and y begin at the first word, their rows lie one after the other,
    /// and `accumulate` is 0.
    MatmulFew {
        /// Tokens `T`.
        n_tokens: u32,
        /// Input width `K`.
        k: u32,
        /// Output width `N`; with gates W has twice as many rows.
        n: u32,
        /// First row of W used.
        w_row0: u32,
        /// Word offsets of the planes.
        planes: [u32; 4],
        /// Words from one row of x to the next.
        x_stride: u32,
        /// Words before the first row of x.
        x_offset: u32,
        /// Words from one row of y to the next.
        y_stride: u32,
        /// Words before the first value of y; with an adapter also the first of the stack's columns that is computed.
        y_offset: u32,
        /// 1: add to the output, 0: overwrite it.
        accumulate: u32,
        /// The activation: 0: SiLU; 1: GELU (tanh form).
        kind: u32,
        /// Added to the mean square of the norm.
        eps: f32,
        /// Rank of the adapter's pairs, at most three.
        rank: u32,
        /// Factor on what they add.
        scale: f32,
        /// Words from one row of A x to the next: a pair's follow those of the one before it.
        ax_stride: u32,
        /// The column of the stack that the second pair begins at.
        end0: u32,
        /// That of the third.
        end1: u32,
        /// Halves before the first pair's B `[columns, rank]`.
        b0: u32,
        /// Before that of the second.
        b1: u32,
        /// Before that of the third.
        b2: u32,
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
        factor: f32,
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
    /// For [`crate::Kernel::HeadsAttention`]: the fields of [`Attention`], then the others of [`QkvHeads`].
    HeadsAttention {
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
        /// Leading values of a head that turn.
        rope_dim: u32,
        /// Which values are pairs.
        neox: u32,
        /// 1: `extras` begins with biases.
        bias: u32,
        /// 1: queries and keys are normed.
        norm: u32,
        /// Added to the mean square of the norms.
        eps: f32,
        /// Factor on turned values.
        factor: f32,
        /// Into how many parts the keys of a token are divided. With more than one, `out` has what each sums, for
        /// [`crate::Kernel::AttentionMerge`].
        parts: u32,
    }
    /// For [`crate::Kernel::AttentionMerge`].
    AttentionMerge {
        /// Rows: tokens times heads.
        rows: u32,
        /// Width `D` of a head.
        head_dim: u32,
        /// Parts of a row.
        parts: u32,
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
    /// For [`crate::Kernel::Sample`].
    Sample {
        /// Tokens drawn.
        n: u32,
        /// Logits in a row.
        vocab: u32,
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
    /// For [`crate::Kernel::ToF16`].
    ToF16 {
        /// Values of x; where their number is odd, a zero follows them.
        n: u32,
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

impl HeadsAttention {
    /// Both in one, of one part.
    pub fn new(h: &QkvHeads, a: &Attention) -> Self {
        Self {
            n_tokens: a.n_tokens,
            n_heads: a.n_heads,
            n_kv_heads: a.n_kv_heads,
            head_dim: a.head_dim,
            block_size: a.block_size,
            max_blocks: a.max_blocks,
            window: a.window,
            scale: a.scale,
            rope_dim: h.rope_dim,
            neox: h.neox,
            bias: h.bias,
            norm: h.norm,
            eps: h.eps,
            factor: h.factor,
            parts: 1,
        }
    }

    /// What becomes of queries, keys and values.
    pub fn heads(&self) -> QkvHeads {
        QkvHeads {
            n_tokens: self.n_tokens,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            rope_dim: self.rope_dim,
            neox: self.neox,
            bias: self.bias,
            norm: self.norm,
            eps: self.eps,
            factor: self.factor,
        }
    }

    /// The attention after it.
    pub fn attention(&self) -> Attention {
        Attention {
            n_tokens: self.n_tokens,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            block_size: self.block_size,
            max_blocks: self.max_blocks,
            window: self.window,
            scale: self.scale,
        }
    }
}

impl MatmulFew {
    /// The product alone.
    pub fn product(&self) -> MatmulQ {
        MatmulQ {
            n_tokens: self.n_tokens,
            k: self.k,
            n: self.n,
            w_row0: self.w_row0,
            planes: self.planes,
            x_stride: self.x_stride,
            x_offset: self.x_offset,
            y_stride: self.y_stride,
            y_offset: self.y_offset,
            accumulate: self.accumulate,
        }
    }

    /// The same with gates.
    pub fn gated(&self) -> MatmulGated {
        MatmulGated { n_tokens: self.n_tokens, k: self.k, n: self.n, planes: self.planes, kind: self.kind }
    }

    /// Where the row of B lies that goes with a column of the stack, and the first of its columns of A x.
    pub fn pair(&self, column: u32) -> (usize, usize) {
        let (b, first, i) = match column {
            c if c < self.end0 => (self.b0, 0, 0),
            c if c < self.end1 => (self.b1, self.end0, 1),
            _ => (self.b2, self.end1, 2),
        };
        ((b + (column - first) * self.rank) as usize, (i * self.rank) as usize)
    }

    /// How many columns from one of the stack on are of the same pair; of the last pair, any number.
    pub fn left(&self, column: u32) -> usize {
        let end = [self.end0, self.end1].into_iter().find(|end| column < *end);
        end.map_or(usize::MAX, |end| (end - column) as usize)
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
