# SPDX-License-Identifier: MIT OR Apache-2.0
"""The two models in plain JAX over the gguf package's dequantised weights.

An independent second writing of the mathematics: no cache, no batch, no quantised arithmetic.
`forward(params, tokens, lora)` gives the logits of every position; the number type is that of
the weights (f32 by default, f64 when loaded so).
"""

import gguf
import jax
import jax.numpy as jnp
import numpy as np
from gguf.quants import dequantize

PROJECTIONS = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]


def load(path, dtype=np.float32):
    """(config, params): params maps GGUF tensor names to arrays, matrices as [out, in]."""
    reader = gguf.GGUFReader(path)

    def field(key, default=None):
        f = reader.fields.get(key)
        return default if f is None else f.contents()

    arch = field("general.architecture")
    heads = field(f"{arch}.attention.head_count")
    width = field(f"{arch}.embedding_length")
    config = {
        "arch": arch,
        "layers": field(f"{arch}.block_count"),
        "width": width,
        "ff": field(f"{arch}.feed_forward_length"),
        "heads": heads,
        "kv_heads": field(f"{arch}.attention.head_count_kv"),
        "head_dim": field(f"{arch}.attention.key_length", width // heads),
        "eps": field(f"{arch}.attention.layer_norm_rms_epsilon"),
        "rope_base": field(f"{arch}.rope.freq_base"),
        "window": field(f"{arch}.attention.sliding_window", 0),
    }
    params = {}
    for t in reader.tensors:
        values = dequantize(t.data, t.tensor_type)
        params[t.name] = jnp.asarray(values.reshape([int(n) for n in t.shape[::-1]]), dtype)
    return config, params


def rms_norm(x, weight, eps):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rope(x, base, interleaved):
    """x is [positions, heads, head_dim]; pairs are (2i, 2i+1) or (i, i + head_dim/2)."""
    half = x.shape[-1] // 2
    freq = base ** (-np.arange(half) / half)
    angle = np.arange(x.shape[0])[:, None] * freq[None, :]
    cos = jnp.asarray(np.cos(angle), x.dtype)[:, None, :]
    sin = jnp.asarray(np.sin(angle), x.dtype)[:, None, :]
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
        return jnp.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def attention(q, k, v, window):
    """Causal attention with grouped heads; window 0 means no window."""
    n, heads, dim = q.shape
    groups = heads // k.shape[1]
    k = jnp.repeat(k, groups, axis=1)
    v = jnp.repeat(v, groups, axis=1)
    scores = jnp.einsum("ihd,jhd->hij", q, k) / np.sqrt(dim).astype(q.dtype)
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    seen = j <= i
    if window:
        seen &= i - j < window
    scores = jnp.where(seen[None], scores, -jnp.inf)
    out = jnp.einsum("hij,jhd->ihd", jax.nn.softmax(scores, axis=-1), v)
    return out.reshape(n, heads * dim)


def forward(config, params, tokens, lora=None):
    """Logits [positions, vocabulary]. lora: {"scale": s, "blk.N.PROJ": (A [r,in], B [out,r])}."""
    gemma = config["arch"] == "gemma3"
    lora = lora or {}
    eps, dim = config["eps"], config["head_dim"]
    embed = params["token_embd.weight"]

    def linear(name, x):
        y = x @ params[f"{name}.weight"].T
        if name in lora:
            a, b = lora[name]
            y = y + lora["scale"] * ((x @ a.T) @ b.T)
        return y

    x = embed[jnp.asarray(tokens)]
    if gemma:
        x = x * np.sqrt(config["width"]).astype(x.dtype)
    n = x.shape[0]
    for layer in range(config["layers"]):
        blk = f"blk.{layer}"
        local = gemma and layer % 6 != 5
        base = 10000.0 if local else config["rope_base"]

        h = rms_norm(x, params[f"{blk}.attn_norm.weight"], eps)
        q = linear(f"{blk}.attn_q", h).reshape(n, config["heads"], dim)
        k = linear(f"{blk}.attn_k", h).reshape(n, config["kv_heads"], dim)
        v = linear(f"{blk}.attn_v", h).reshape(n, config["kv_heads"], dim)
        if gemma:
            q = rms_norm(q, params[f"{blk}.attn_q_norm.weight"], eps)
            k = rms_norm(k, params[f"{blk}.attn_k_norm.weight"], eps)
        q, k = rope(q, base, not gemma), rope(k, base, not gemma)
        h = attention(q, k, v, config["window"] if local else 0)
        h = linear(f"{blk}.attn_output", h)
        if gemma:
            h = rms_norm(h, params[f"{blk}.post_attention_norm.weight"], eps)
        x = x + h

        h = rms_norm(x, params[f"{blk}.ffn_norm.weight"], eps)
        gate, up = linear(f"{blk}.ffn_gate", h), linear(f"{blk}.ffn_up", h)
        act = jax.nn.gelu(gate, approximate=True) if gemma else jax.nn.silu(gate)
        h = linear(f"{blk}.ffn_down", act * up)
        if gemma:
            h = rms_norm(h, params[f"{blk}.post_ffw_norm.weight"], eps)
        x = x + h

    x = rms_norm(x, params["output_norm.weight"], eps)
    return x @ embed.T


def generator(count, index):
    """The integer-hash numbers u - 0.5 in [-0.5, 0.5), f64: see gradients.json, `generator`."""
    h = (np.arange(count, dtype=np.uint64) * 2654435761 + index * 40503 + 12345) & 0xFFFFFFFF
    h = h.astype(np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h.astype(np.float64) / 2.0**32 - 0.5


def make_lora(config, params, rank=4, alpha=8.0, spread=0.08):
    """The documented adapter on all seven projections of every layer (f32 values)."""
    lora = {"scale": alpha / rank}
    for layer in range(config["layers"]):
        for p, proj in enumerate(PROJECTIONS):
            name = f"blk.{layer}.{proj}"
            rows, cols = params[f"{name}.weight"].shape
            index = 2 * (layer * len(PROJECTIONS) + p)
            a = (generator(rank * cols, index) * spread).astype(np.float32).reshape(rank, cols)
            b = (generator(rows * rank, index + 1) * spread).astype(np.float32)
            lora[name] = (a, b.reshape(rows, rank))
    return lora


def write_adapter(path, lora, alpha=8.0, arch="llama"):
    """The same adapter as a llama.cpp GGUF adapter file."""
    w = gguf.GGUFWriter(path, arch)
    w.add_type("adapter")
    w.add_string("adapter.type", "lora")
    w.add_float32("adapter.lora.alpha", alpha)
    for name, pair in lora.items():
        if name != "scale":
            w.add_tensor(f"{name}.weight.lora_a", np.asarray(pair[0], np.float32))
            w.add_tensor(f"{name}.weight.lora_b", np.asarray(pair[1], np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
