//! A model of a few hundred kilobytes with random weights: it says nonsense, but through every floor, so that
//! hosts can be tested in seconds and under valgrind.

use std::io;
use std::path::Path;

use unspoken::gguf::{GgufWriter, write_atomic};

const DIM: usize = 64;
const FFN: usize = 96;
const LAYERS: usize = 2;
const HEADS: u32 = 4;
const KV_HEADS: usize = 2;
const CONTEXT: u32 = 4096;

const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// How byte-level vocabularies write a byte: as itself where it is visible, else as a letter from U+0100 on.
fn letter(byte: u8) -> char {
    let visible = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if visible(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|b| !visible(*b)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or('?')
}

/// Writes the model to `path`. Always the same bytes.
///
/// # Errors
/// What the system says.
pub fn write_tiny_model(path: &Path) -> io::Result<()> {
    let mut tokens: Vec<String> = (0..=255).map(|b| letter(b).to_string()).collect();
    // The critic's verdicts are one token each.
    let merges = ["Y e", "Ye s", "Ġ Yes", "N o", "Ġ No"];
    tokens.extend(merges.iter().map(|m| m.replace(' ', "")));
    tokens.extend(["<|im_start|>".into(), "<|im_end|>".into()]);
    let vocab = tokens.len();
    let types: Vec<i32> = (0..vocab).map(|i| if i < vocab - 2 { 1 } else { 3 }).collect();

    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |n: usize, scale: f32| -> Vec<f32> {
        let draw = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        };
        (0..n).map(draw).collect()
    };
    let kv = KV_HEADS * DIM / HEADS as usize;
    let mut all: Vec<(String, Vec<u64>, Vec<f32>)> = Vec::new();
    let mut matrix = |name: String, rows: usize, cols: usize, scale: f32| {
        all.push((name, vec![cols as u64, rows as u64], random(rows * cols, scale)));
    };
    matrix("token_embd.weight".into(), vocab, DIM, 1.0);
    for l in 0..LAYERS {
        let shapes = [
            ("attn_q", DIM, DIM),
            ("attn_k", kv, DIM),
            ("attn_v", kv, DIM),
            ("attn_output", DIM, DIM),
            ("ffn_gate", FFN, DIM),
            ("ffn_up", FFN, DIM),
            ("ffn_down", DIM, FFN),
        ];
        for (name, rows, cols) in shapes {
            matrix(format!("blk.{l}.{name}.weight"), rows, cols, 0.3);
        }
    }
    let norms = (0..LAYERS).flat_map(|l| ["attn_norm", "ffn_norm"].map(|n| format!("blk.{l}.{n}.weight")));
    for name in norms.chain(["output_norm.weight".into()]) {
        all.push((name, vec![DIM as u64], vec![1.0; DIM]));
    }
    let mut w = GgufWriter::new()
        .str("general.architecture", "llama")
        .u32("llama.block_count", LAYERS as u32)
        .u32("llama.embedding_length", DIM as u32)
        .u32("llama.feed_forward_length", FFN as u32)
        .u32("llama.attention.head_count", HEADS)
        .u32("llama.attention.head_count_kv", KV_HEADS as u32)
        .u32("llama.context_length", CONTEXT)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &types)
        .strings("tokenizer.ggml.merges", &merges)
        .u32("tokenizer.ggml.eos_token_id", vocab as u32 - 1)
        .str("tokenizer.chat_template", TEMPLATE);
    for (name, shape, values) in &all {
        w.tensor(name, shape, values);
    }
    write_atomic(path, |mut out| w.write(&mut out))
}
