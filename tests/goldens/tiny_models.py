# SPDX-License-Identifier: MIT OR Apache-2.0
"""Small models with random weights, deterministic by name: one of each architecture, one of each
weight type. Written into tests/goldens/tiny/ by tiny.py."""

import zlib

import gguf
import numpy as np

import tiny_vocab
from common import HERE

FOLDER = HERE / "tiny"

# Architectures, all in f32, so that llama.cpp computes them without quantising anything.
ARCHITECTURES = {
    "llama": dict(arch="llama", pre="smollm"),
    "llama3": dict(arch="llama", pre="llama-bpe", tied=False, rope_freqs=True),
    "llama_linear": dict(arch="llama", spm=True, scaling="linear", factor=4.0),
    # llama.cpp has no window for this architecture; the JAX model judges it.
    "mistral_window": dict(arch="llama", spm=True, tied=False, window=9, judge="jax"),
    "mistral3": dict(
        arch="mistral3", pre="tekken", tied=False, head_dim=16, scaling="yarn", factor=16.0,
        original=64, beta=(16.0, 2.0), log_multiplier=0.5, rope_base=1e6,
    ),
    "qwen2": dict(arch="qwen2", pre="qwen2", bias=True, scaling="yarn", factor=4.0, original=16),
    "qwen3": dict(arch="qwen3", pre="qwen2", tied=False, head_dim=16, qk_norm=True),
    "gemma3": dict(
        arch="gemma3", spm=True, space_prefix=False, head_dim=16, qk_norm=True, post_norm=True,
        window=9, layers=6, rope_base=1e6,
    ),
    "phi3": dict(
        arch="phi3", spm=True, tied=False, fused=True, rope_dim=6, longrope=True, original=256,
        attention_factor=1.19, room=[256, 512],
    ),
    "smollm3": dict(arch="smollm3", pre="llama-bpe", layers=4, rope_base=5e6),
}

_SMALL = dict(arch="llama", pre="smollm", head_dim=16, heads=2, kv_heads=1, ffn=64)
# Super-blocks hold 256 weights of a row.
_LARGE = dict(arch="llama", pre="smollm", width=256, heads=4, kv_heads=1, head_dim=64, ffn=256, layers=1)
TYPES = {
    name.lower(): dict(_LARGE if name.endswith("_K") else _SMALL, type=name)
    for name in "F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL".split()
}

# Types that the gguf package does not quantise get random blocks: bytes of a block, and its halves
# as (offset, size). Quants and small scales are any bits; the sizes make weights of about 0.06
# whose mean is near zero.
RANDOM_BLOCKS = {
    "Q2_K": (84, [(80, 6e-3), (82, 9e-3)]),
    "Q3_K": (110, [(108, 1.2e-3)]),
    "Q4_K": (144, [(0, 4e-4), (2, 3e-3)]),
    "Q5_K": (176, [(0, 2e-4), (2, 3.1e-3)]),
    "Q6_K": (210, [(208, 4e-5)]),
    "IQ4_NL": (18, [(0, 8e-4)]),
}


def _blocks(rng, kind, rows, cols):
    size, halves = RANDOM_BLOCKS[kind]
    per = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0]
    raw = rng.integers(0, 256, (rows * cols // per, size), dtype=np.uint8)
    for at, scale in halves:
        spread = rng.uniform(0.9, 1.1, len(raw)) * scale
        raw[:, at : at + 2] = spread.astype("<f2").view(np.uint8).reshape(-1, 2)
    return raw.reshape(rows, -1)


def write(name, spec):
    """Writes a model; returns its path."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    arch = spec["arch"]
    width, heads, kv_heads = spec.get("width", 32), spec.get("heads", 4), spec.get("kv_heads", 2)
    head_dim = spec.get("head_dim", width // heads)
    ffn, layers = spec.get("ffn", 48), spec.get("layers", 2)
    rope_dim = spec.get("rope_dim", head_dim)
    kind = spec.get("type", "F32")

    path = FOLDER / f"{name}.gguf"
    w = gguf.GGUFWriter(path, arch)
    w.add_name("random weights")
    w.add_context_length(1024)
    w.add_embedding_length(width)
    w.add_block_count(layers)
    w.add_feed_forward_length(ffn)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(rope_dim)
    w.add_rope_freq_base(spec.get("rope_base", 10000.0))
    if "window" in spec:
        w.add_sliding_window(spec["window"])
    if "scaling" in spec:
        w.add_rope_scaling_type(gguf.RopeScalingType(spec["scaling"]))
        w.add_rope_scaling_factor(spec["factor"])
    if "original" in spec:
        w.add_rope_scaling_orig_ctx_len(spec["original"])
    if "attention_factor" in spec:
        w.add_rope_scaling_attn_factors(spec["attention_factor"])
    if "beta" in spec:
        w.add_rope_scaling_yarn_beta_fast(spec["beta"][0])
        w.add_rope_scaling_yarn_beta_slow(spec["beta"][1])
    if "log_multiplier" in spec:
        w.add_rope_scaling_yarn_log_mul(spec["log_multiplier"])
    if spec.get("spm"):
        vocab = tiny_vocab.add_spm(w, 30, spec.get("space_prefix", True))
    else:
        vocab = tiny_vocab.add_bpe(w, spec["pre"], 40)

    def add(tensor, rows, cols, kind="F32", spread=None):
        values = rng.standard_normal((rows, cols)).astype(np.float32)
        values *= spread or 1.5 / np.sqrt(cols)
        if kind in RANDOM_BLOCKS:
            data = _blocks(rng, kind, rows, cols)
        else:
            data = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
        w.add_tensor(f"{tensor}.weight", data, raw_dtype=gguf.GGMLQuantizationType[kind])

    def vector(tensor, size, mean=1.0, spread=0.2):
        w.add_tensor(tensor, (mean + spread * rng.standard_normal(size)).astype(np.float32))

    q_dim, kv_dim = heads * head_dim, kv_heads * head_dim
    add("token_embd", vocab, width, kind, 1.0)
    if not spec.get("tied", True):
        add("output", vocab, width, kind)
    vector("output_norm.weight", width)
    if spec.get("rope_freqs"):
        w.add_tensor("rope_freqs.weight", rng.uniform(1, 8, rope_dim // 2).astype(np.float32))
    if spec.get("longrope"):
        for which, top in (("short", 1.5), ("long", 20)):
            factors = rng.uniform(1, top, rope_dim // 2).astype(np.float32)
            w.add_tensor(f"rope_factors_{which}.weight", factors)
    for i in range(layers):
        blk = f"blk.{i}"
        vector(f"{blk}.attn_norm.weight", width)
        vector(f"{blk}.ffn_norm.weight", width)
        if spec.get("fused"):
            add(f"{blk}.attn_qkv", q_dim + 2 * kv_dim, width, kind)
            add(f"{blk}.ffn_up", 2 * ffn, width, kind)
        else:
            add(f"{blk}.attn_q", q_dim, width, kind)
            add(f"{blk}.attn_k", kv_dim, width, kind)
            add(f"{blk}.attn_v", kv_dim, width, kind)
            add(f"{blk}.ffn_gate", ffn, width, kind)
            add(f"{blk}.ffn_up", ffn, width, kind)
        add(f"{blk}.attn_output", width, q_dim, kind)
        add(f"{blk}.ffn_down", width, ffn, kind)
        if spec.get("bias"):
            for part, size in (("q", q_dim), ("k", kv_dim), ("v", kv_dim)):
                vector(f"{blk}.attn_{part}.bias", size, 0.0, 0.5)
        if spec.get("qk_norm"):
            vector(f"{blk}.attn_q_norm.weight", head_dim)
            vector(f"{blk}.attn_k_norm.weight", head_dim)
        if spec.get("post_norm"):
            vector(f"{blk}.post_attention_norm.weight", width)
            vector(f"{blk}.post_ffw_norm.weight", width)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path
