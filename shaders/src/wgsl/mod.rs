//! WGSL sources, put together by plain concatenation: the bindings and parameters, a kernel's own file, the files
//! in `wgsl/shared/` that it calls, and for quantized ones the unpacking of the weight type.
//!
//! Group 0 holds the bindings of [`Kernel::bindings`], group 1 the parameters as a uniform buffer. The entry
//! point is `main`.

mod forms;
mod grid;
mod lanes;

pub use forms::{FEW_TOKENS, Few, Forms, Many, Variant};
pub use grid::{work, workgroups};

use crate::{Access, Along, Holds, Kernel, KvType, Params, QuantType, params};

/// Rows of W that a workgroup of the vector form takes.
const VECTOR_ROWS: u32 = 4;
/// Invocations in a workgroup of [`Variant::Quads`] and [`Variant::Subgroups`].
const FEW_LANES: u32 = 64;
/// Lanes that share two rows of W in the first of them.
const FEW_PLACES: u32 = 32;
/// Rows (or columns) of W that a workgroup of the tiled forms takes.
const TILE: u32 = 64;
/// Texels in a line of a texture that holds weights.
pub const TEXELS: u32 = 1024;

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../wgsl/", $name, ".wgsl"))
    };
}

const GRID: &str = file!("shared/grid");
const MATH: &str = file!("shared/math");
const TURN: &str = file!("shared/turn");
const REDUCE: &str = file!("shared/reduce");
const PAGED: &str = file!("shared/paged");
const WALK: &str = file!("shared/walk");
const ACTIVATION: &str = file!("shared/activation");
const WORDS: &str = file!("shared/words");
const TEXTURE: &str = file!("shared/texels");
const PROBLEM: &str = file!("shared/problem");
const LOAD_X: &str = file!("shared/load_x");
const LOAD_X_QUADS: &str = file!("shared/load_x_quads");
const LOAD_W: &str = file!("shared/load_w");
const LOADS_TRANSPOSED: &str = file!("shared/loads_transposed");
const SPLIT: &str = file!("shared/split");
const PRODUCT: &str = file!("shared/product");
const GATED_PRODUCT: &str = file!("shared/gated_product");
const NORMED: &str = file!("shared/normed");
const NOT_NORMED: &str = file!("shared/not_normed");
const ADAPTED: &str = file!("shared/adapted");
const NOT_ADAPTED: &str = file!("shared/not_adapted");
const TOTALS: &str = file!("shared/totals");
const SUBGROUP_TOTALS: &str = file!("shared/subgroup_totals");
const PUT_HEAD: &str = file!("shared/put_head");
const ATTENTION_ONLY: &str = file!("shared/attention_only");
const ATTENTION_HEADS: &str = file!("shared/attention_heads");
const HEADS: &str = file!("shared/heads");
const RUN: &str = file!("shared/run");
const WEIGHTS: &str = file!("shared/weights");
const SCALE_MIN: &str = file!("shared/scale_min");

/// The WGSL of a kernel in one of its forms; `texture` where its weights are in one.
pub fn source(kernel: Kernel, variant: Variant, forms: &Forms, texture: bool) -> String {
    let mut source = header(kernel, variant, texture);
    let mut add = |part: &str| {
        source.push('\n');
        source.push_str(part);
    };
    match variant {
        Variant::Lanes(tokens) => add(&lanes::source(tokens, along(kernel), forms)),
        _ => add(own(kernel, variant)),
    }
    let shared: &[&str] = match kernel {
        Kernel::EmbedRows(_) => &[GRID],
        Kernel::MatmulQ(_) => &[GRID, PRODUCT],
        Kernel::MatmulGated(_) | Kernel::MatmulFew(_, Along { gate: true, .. }) => {
            &[GRID, GATED_PRODUCT, MATH, ACTIVATION]
        }
        Kernel::MatmulFew(..) => &[GRID, PRODUCT],
        Kernel::MatmulQT(_) => &[],
        Kernel::MatmulF32 => &[PROBLEM],
        Kernel::RmsNorm | Kernel::RmsNormBackward | Kernel::AddNorm => &[GRID, REDUCE],
        Kernel::QkvHeads(_) => &[GRID, REDUCE, TURN, HEADS, PUT_HEAD],
        Kernel::QkvHeadsBackward => &[GRID, REDUCE, TURN, HEADS],
        Kernel::Attention(_) if matches!(variant, Variant::Spans(_)) => &[MATH, PAGED],
        Kernel::Attention(_) => &[GRID, MATH, REDUCE, PAGED, ATTENTION_ONLY],
        Kernel::HeadsAttention(_) => &[GRID, MATH, REDUCE, PAGED, TURN, HEADS, PUT_HEAD, ATTENTION_HEADS],
        Kernel::AttentionBackwardQ => &[GRID, MATH, PAGED, WALK],
        Kernel::AttentionBackwardKv => &[GRID, MATH, REDUCE, PAGED, WALK],
        Kernel::GatedActivation | Kernel::GatedActivationBackward => &[GRID, MATH, ACTIVATION],
        Kernel::LogitsReduce | Kernel::Sample => &[GRID, MATH, REDUCE],
        Kernel::LogitsBackward | Kernel::AttentionMerge => &[GRID, MATH],
        Kernel::SquaredNorm => &[GRID, REDUCE],
        Kernel::ScatterRows
        | Kernel::GatherRows
        | Kernel::MoveRows
        | Kernel::AttentionDelta
        | Kernel::Add
        | Kernel::Fill
        | Kernel::ToF16
        | Kernel::AdamW => &[GRID],
    };
    shared.iter().for_each(|part| add(part));
    match (kernel, variant) {
        // Lanes of a workgroup, and the keys or queries that it takes at a time.
        (Kernel::Attention(_), Variant::Spans(spans)) => add(&format!("const SPANS = {spans}u;\n")),
        (Kernel::Attention(_) | Kernel::HeadsAttention(_), Variant::Wide) => add("const LANES = 256u;\n"),
        (Kernel::Attention(_) | Kernel::HeadsAttention(_), _) => add("const LANES = 64u;\n"),
        (Kernel::AttentionBackwardQ, Variant::Wide) => add("const LANES = 256u;\nconst KEYS = 64u;\n"),
        (Kernel::AttentionBackwardQ, _) => add("const LANES = 64u;\nconst KEYS = 64u;\n"),
        (Kernel::AttentionBackwardKv, Variant::Wide) => add("const LANES = 256u;\nconst QUERIES = 64u;\n"),
        (Kernel::AttentionBackwardKv, _) => add("const LANES = 64u;\nconst QUERIES = 64u;\n"),
        (Kernel::MatmulQT(_), _) => add(LOADS_TRANSPOSED),
        (_, Variant::Narrow | Variant::Tiled) => [LOAD_X, LOAD_W].iter().for_each(|part| add(part)),
        (_, Variant::Block(_)) => [LOAD_X_QUADS, LOAD_W].iter().for_each(|part| add(part)),
        _ => {}
    }
    if variant.by_quads() && !matches!(variant, Variant::Block(_)) {
        let along = along(kernel);
        add(if along.norm { NORMED } else { NOT_NORMED });
        add(if along.adapter { ADAPTED } else { NOT_ADAPTED });
    }
    if let Variant::Quads | Variant::Subgroups = variant {
        add(&format!("const LANES = {FEW_LANES}u;\nconst PLACES = {}u;\n", forms.places(variant)));
        add(parts(along(kernel)));
        add(if variant == Variant::Quads { TOTALS } else { SUBGROUP_TOTALS });
    }
    if let Variant::Block(side) = variant {
        let (tokens, rows) = Variant::block(side);
        add(&format!("const SIDE = {side}u;\nconst TOKENS = {tokens}u;\nconst ROWS = {rows}u;\n"));
    }
    if let Variant::Split(side) = variant {
        add(&format!("const SIDE = {side}u;\n"));
        add(SPLIT);
    }
    cache_access(kernel).iter().for_each(|part| add(part));
    if let (Kernel::Attention(kv) | Kernel::HeadsAttention(kv), Variant::Single | Variant::Wide) = (kernel, variant) {
        add(walk_keys(kv));
    }
    if let Some(q) = kernel.quant() {
        add(if texture { TEXTURE } else { WORDS });
        add(WEIGHTS);
        unpacking(q).iter().for_each(|part| add(part));
        match variant {
            Variant::Lanes(_) => [RUN, run(q)].iter().for_each(|part| add(part)),
            Variant::Narrow => add("const BLOCKS = 1u;\n"),
            Variant::Tiled => add("const BLOCKS = 4u;\n"),
            _ => {}
        }
    }
    source
}

/// The declarations of a kernel's parameters and bindings.
fn header(kernel: Kernel, variant: Variant, texture: bool) -> String {
    let mut text = format!("struct Params {{\n{}}}\n@group(1) @binding(0) var<uniform> p: Params;\n", fields(kernel));
    for (i, b) in kernel.bindings().iter().enumerate() {
        let access = if b.access == Access::Read { "read" } else { "read_write" };
        let (space, ty) = match b.holds {
            Holds::Weights if texture => (String::new(), "texture_2d<u32>"),
            Holds::Weights => (format!("<storage, {access}>"), "array<vec4<u32>>"),
            Holds::Quads if variant.by_quads() => (format!("<storage, {access}>"), "array<vec4<f32>>"),
            Holds::F32 | Holds::Quads => (format!("<storage, {access}>"), "array<f32>"),
            Holds::U32 => (format!("<storage, {access}>"), "array<u32>"),
        };
        text += &format!("@group(0) @binding({i}) var{space} {}: {ty};\n", b.name);
    }
    if texture {
        text += &format!("const TEXELS = {TEXELS}u;\n");
    }
    text
}

/// What is summed over the lanes that share two rows, and where: the rows; with a norm the squares; and with both what an
/// adapter adds to the rows, which the norm does not scale.
const fn parts(along: Along) -> &'static str {
    match (along.norm, along.adapter) {
        (false, _) => "const PARTS = 2u;\nconst SQUARES = 0u;\nconst BESIDE = 0u;\n",
        (true, false) => "const PARTS = 3u;\nconst SQUARES = 2u;\nconst BESIDE = 0u;\n",
        (true, true) => "const PARTS = 5u;\nconst SQUARES = 2u;\nconst BESIDE = 3u;\n",
    }
}

/// What a product takes along.
const fn along(kernel: Kernel) -> Along {
    match kernel {
        Kernel::MatmulFew(_, along) => along,
        _ => Along { norm: false, adapter: false, gate: false },
    }
}

const fn fields(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::EmbedRows(_) => params::EmbedRows::WGSL,
        Kernel::MatmulQ(_) | Kernel::MatmulQT(_) => params::MatmulQ::WGSL,
        Kernel::MatmulGated(_) => params::MatmulGated::WGSL,
        Kernel::MatmulFew(..) => params::MatmulFew::WGSL,
        Kernel::MatmulF32 => params::MatmulF32::WGSL,
        Kernel::RmsNorm | Kernel::RmsNormBackward => params::RmsNorm::WGSL,
        Kernel::AddNorm => params::AddNorm::WGSL,
        Kernel::QkvHeads(_) | Kernel::QkvHeadsBackward => params::QkvHeads::WGSL,
        Kernel::ScatterRows | Kernel::GatherRows | Kernel::MoveRows => params::Rows::WGSL,
        Kernel::Attention(_) | Kernel::AttentionDelta | Kernel::AttentionBackwardQ | Kernel::AttentionBackwardKv => {
            params::Attention::WGSL
        }
        Kernel::HeadsAttention(_) => params::HeadsAttention::WGSL,
        Kernel::AttentionMerge => params::AttentionMerge::WGSL,
        Kernel::GatedActivation | Kernel::GatedActivationBackward => params::GatedActivation::WGSL,
        Kernel::LogitsReduce | Kernel::LogitsBackward => params::Logits::WGSL,
        Kernel::Sample => params::Sample::WGSL,
        Kernel::Add => params::Add::WGSL,
        Kernel::Fill => params::Fill::WGSL,
        Kernel::ToF16 => params::ToF16::WGSL,
        Kernel::SquaredNorm => params::SquaredNorm::WGSL,
        Kernel::AdamW => params::AdamW::WGSL,
    }
}

fn own(kernel: Kernel, variant: Variant) -> &'static str {
    match kernel {
        Kernel::EmbedRows(_) => file!("embed_rows"),
        Kernel::MatmulQ(_) | Kernel::MatmulGated(_) if variant == Variant::Vector => file!("matmul_q_vector"),
        Kernel::MatmulQ(_) | Kernel::MatmulGated(_) if matches!(variant, Variant::Block(_)) => {
            file!("matmul_q_block")
        }
        Kernel::MatmulQ(_) | Kernel::MatmulGated(_) if variant.by_quads() => file!("matmul_few"),
        Kernel::MatmulFew(..) => file!("matmul_few"),
        Kernel::MatmulQ(_) | Kernel::MatmulGated(_) => file!("matmul_q_tiled"),
        Kernel::MatmulQT(_) if matches!(variant, Variant::Split(_)) => file!("matmul_q_transposed_split"),
        Kernel::MatmulQT(_) => file!("matmul_q_transposed"),
        Kernel::MatmulF32 if variant == Variant::Vector => file!("matmul_f32_vector"),
        Kernel::MatmulF32 if variant == Variant::Column => file!("matmul_f32_column"),
        Kernel::MatmulF32 => file!("matmul_f32"),
        Kernel::RmsNorm => file!("rms_norm"),
        Kernel::RmsNormBackward => file!("rms_norm_backward"),
        Kernel::AddNorm => file!("add_norm"),
        Kernel::QkvHeads(_) => file!("qkv_heads"),
        Kernel::QkvHeadsBackward => file!("qkv_heads_backward"),
        Kernel::ScatterRows => file!("scatter_rows"),
        Kernel::GatherRows => file!("gather_rows"),
        Kernel::MoveRows => file!("move_rows"),
        Kernel::Attention(_) if matches!(variant, Variant::Spans(_)) => file!("attention_tiled"),
        Kernel::Attention(_) | Kernel::HeadsAttention(_) => file!("attention"),
        Kernel::AttentionDelta => file!("attention_delta"),
        Kernel::AttentionBackwardQ => file!("attention_backward_q"),
        Kernel::AttentionBackwardKv => file!("attention_backward_kv"),
        Kernel::GatedActivation => file!("gated_activation"),
        Kernel::GatedActivationBackward => file!("gated_activation_backward"),
        Kernel::LogitsReduce => file!("logits_reduce"),
        Kernel::LogitsBackward => file!("logits_backward"),
        Kernel::Sample => file!("sample"),
        Kernel::Add => file!("add"),
        Kernel::Fill => file!("fill"),
        Kernel::AttentionMerge => file!("attention_merge"),
        Kernel::ToF16 => file!("to_f16"),
        Kernel::SquaredNorm => file!("squared_norm"),
        Kernel::AdamW => file!("adamw"),
    }
}

/// How a kernel reads or writes the cache.
const fn cache_access(kernel: Kernel) -> &'static [&'static str] {
    match kernel {
        Kernel::QkvHeads(KvType::F32) => &[file!("kv/f32"), file!("kv/write_f32")],
        Kernel::QkvHeads(KvType::F16) => &[file!("kv/f16"), file!("kv/stage"), file!("kv/write_f16")],
        Kernel::QkvHeads(KvType::Q8_0) => &[file!("kv/q8_0"), file!("kv/stage"), file!("kv/write_q8_0")],
        Kernel::Attention(KvType::F32) => &[file!("kv/f32"), file!("kv/read_f32")],
        Kernel::Attention(KvType::F16) => &[file!("kv/f16"), file!("kv/read_f16")],
        Kernel::Attention(KvType::Q8_0) => &[file!("kv/q8_0"), file!("kv/read_q8_0")],
        Kernel::HeadsAttention(KvType::F32) => &[file!("kv/f32"), file!("kv/read_f32"), file!("kv/write_f32")],
        Kernel::HeadsAttention(KvType::F16) => {
            &[file!("kv/f16"), file!("kv/read_f16"), file!("kv/stage"), file!("kv/write_f16")]
        }
        Kernel::HeadsAttention(KvType::Q8_0) => {
            &[file!("kv/q8_0"), file!("kv/read_q8_0"), file!("kv/stage"), file!("kv/write_q8_0")]
        }
        _ => &[],
    }
}

/// How attention that walks key by key takes their products.
const fn walk_keys(kv: KvType) -> &'static str {
    match kv {
        KvType::F32 => file!("kv/walk_f32"),
        KvType::F16 => file!("kv/walk_f16"),
        KvType::Q8_0 => file!("kv/walk_q8_0"),
    }
}

fn unpacking(q: QuantType) -> &'static [&'static str] {
    match q {
        QuantType::F32 => &[file!("quant/f32")],
        QuantType::F16 => &[file!("quant/f16")],
        QuantType::BF16 => &[file!("quant/bf16")],
        QuantType::Q4_0 => &[file!("quant/q4_0")],
        QuantType::Q4_1 => &[file!("quant/q4_1")],
        QuantType::Q5_0 => &[file!("quant/q5_0")],
        QuantType::Q5_1 => &[file!("quant/q5_1")],
        QuantType::Q8_0 => &[file!("quant/q8_0")],
        QuantType::Q2_K => &[file!("quant/q2_k")],
        QuantType::Q3_K => &[file!("quant/q3_k")],
        QuantType::Q4_K => &[SCALE_MIN, file!("quant/q4_k")],
        QuantType::Q5_K => &[SCALE_MIN, file!("quant/q5_k")],
        QuantType::Q6_K => &[file!("quant/q6_k")],
        QuantType::IQ4_NL => &[file!("quant/iq4_nl")],
    }
}

fn run(q: QuantType) -> &'static str {
    match q {
        QuantType::F32 => file!("run/f32"),
        QuantType::F16 => file!("run/f16"),
        QuantType::BF16 => file!("run/bf16"),
        QuantType::Q4_0 => file!("run/q4_0"),
        QuantType::Q4_1 => file!("run/q4_1"),
        QuantType::Q5_0 => file!("run/q5_0"),
        QuantType::Q5_1 => file!("run/q5_1"),
        QuantType::Q8_0 => file!("run/q8_0"),
        QuantType::Q2_K => file!("run/q2_k"),
        QuantType::Q3_K => file!("run/q3_k"),
        QuantType::Q4_K => file!("run/q4_k"),
        QuantType::Q5_K => file!("run/q5_k"),
        QuantType::Q6_K => file!("run/q6_k"),
        QuantType::IQ4_NL => file!("run/iq4_nl"),
    }
}
