# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every architecture in plain JAX over the gguf package's dequantised weights.

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
        "window_pattern": field(f"{arch}.attention.sliding_window_pattern", 6),
        "rope_dim": field(f"{arch}.rope.dimension_count"),
        "rope_scaling": field(f"{arch}.rope.scaling.type"),
        "rope_factor": field(f"{arch}.rope.scaling.factor", 1.0),
        "rope_attention": field(f"{arch}.rope.scaling.attn_factor", 1.0),
        "rope_original": field(f"{arch}.rope.scaling.original_context_length"),
        "yarn_beta": (
            field(f"{arch}.rope.scaling.yarn_beta_fast", 32.0),
            field(f"{arch}.rope.scaling.yarn_beta_slow", 1.0),
        ),
        "yarn_log_multiplier": field(f"{arch}.rope.scaling.yarn_log_multiplier", 0.0),
    }
    params = {}
    for t in reader.tensors:
        values = dequantize(t.data, t.tensor_type)
        params[t.name] = jnp.asarray(values.reshape([int(n) for n in t.shape[::-1]]), dtype)
    return config, params


def rope_table(config, params, local, context):
    """(inverse frequencies, magnitude) of a layer, for a context of that many positions."""
    dim = config["rope_dim"] or config["head_dim"]
    i = np.arange(dim // 2)
    if local:
        return 10000.0 ** (-2 * i / dim), 1.0
    base = config["rope_base"]
    freq = base ** (-2 * i / dim)
    names = ["rope_freqs.weight", "rope_factors_short.weight"]
    if config["rope_original"] and context > config["rope_original"]:
        names[1] = "rope_factors_long.weight"
    for name in names:
        if name in params:
            freq = freq / np.asarray(params[name], np.float64)
            break
    factor, magnitude = config["rope_factor"], config["rope_attention"]
    if config["rope_scaling"] != "yarn":
        return freq / factor, magnitude
    # YaRN: how often a dimension turns within the original context says how much it is stretched.
    fast, slow = config["yarn_beta"]

    def place(turns):
        return dim * np.log(config["rope_original"] / (turns * 2 * np.pi)) / (2 * np.log(base))

    low, high = max(np.floor(place(fast)), 0), min(np.ceil(place(slow)), dim - 1)
    stretched = np.clip((i - low) / max(high - low, 1e-3), 0, 1)
    freq = freq * (1 - stretched) + freq / factor * stretched
    grow = 1 + 0.1 * np.log(factor)
    log_multiplier = config["yarn_log_multiplier"]
    shrink = 1 + 0.1 * log_multiplier * np.log(factor) if log_multiplier else 1.0
    return freq, magnitude * grow / shrink


def rms_norm(x, weight, eps):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rope(x, freq, magnitude, interleaved):
    """x is [positions, heads, head_dim]; the first 2 · len(freq) values of a head turn, in pairs
    (2i, 2i+1) or (i, i + len(freq))."""
    half = len(freq)
    angle = np.arange(x.shape[0])[:, None] * freq[None, :]
    cos = jnp.asarray(np.cos(angle) * magnitude, x.dtype)[:, None, :]
    sin = jnp.asarray(np.sin(angle) * magnitude, x.dtype)[:, None, :]
    x, rest = x[..., : 2 * half], x[..., 2 * half :]
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
        turned = jnp.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)
    else:
        a, b = x[..., :half], x[..., half:]
        turned = jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
    return jnp.concatenate([turned, rest], axis=-1)


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


def forward(config, params, tokens, lora=None, context=0):
    """Logits [positions, vocabulary]. lora: {"scale": s, "blk.N.PROJ": (A [r,in], B [out,r])}, PROJ a
    stored matrix. context: the positions that there is room for, where that chooses rope factors."""
    arch = config["arch"]
    gemma = arch == "gemma3"
    neighbours = arch in ("llama", "mistral3", "smollm3")
    lora = lora or {}
    eps, dim = config["eps"], config["head_dim"]
    q_dim, kv_dim = config["heads"] * dim, config["kv_heads"] * dim
    embed = params["token_embd.weight"]

    def linear(name, x):
        y = x @ params[f"{name}.weight"].T
        if f"{name}.bias" in params:
            y = y + params[f"{name}.bias"]
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
        local = gemma and (layer + 1) % config["window_pattern"] != 0

        h = rms_norm(x, params[f"{blk}.attn_norm.weight"], eps)
        if f"{blk}.attn_qkv.weight" in params:
            q, k, v = jnp.split(linear(f"{blk}.attn_qkv", h), [q_dim, q_dim + kv_dim], axis=-1)
        else:
            q, k, v = (linear(f"{blk}.attn_{p}", h) for p in "qkv")
        q = q.reshape(n, config["heads"], dim)
        k = k.reshape(n, config["kv_heads"], dim)
        v = v.reshape(n, config["kv_heads"], dim)
        if f"{blk}.attn_q_norm.weight" in params:
            q = rms_norm(q, params[f"{blk}.attn_q_norm.weight"], eps)
            k = rms_norm(k, params[f"{blk}.attn_k_norm.weight"], eps)
        if not (arch == "smollm3" and (layer + 1) % 4 == 0):
            table = rope_table(config, params, local, context)
            q, k = rope(q, *table, neighbours), rope(k, *table, neighbours)
        h = attention(q, k, v, 0 if gemma and not local else config["window"])
        h = linear(f"{blk}.attn_output", h)
        if gemma:
            h = rms_norm(h, params[f"{blk}.post_attention_norm.weight"], eps)
        x = x + h

        h = rms_norm(x, params[f"{blk}.ffn_norm.weight"], eps)
        if f"{blk}.ffn_gate.weight" in params:
            gate, up = linear(f"{blk}.ffn_gate", h), linear(f"{blk}.ffn_up", h)
        else:
            gate, up = jnp.split(linear(f"{blk}.ffn_up", h), 2, axis=-1)
        act = jax.nn.gelu(gate, approximate=True) if gemma else jax.nn.silu(gate)
        h = linear(f"{blk}.ffn_down", act * up)
        if gemma:
            h = rms_norm(h, params[f"{blk}.post_ffw_norm.weight"], eps)
        x = x + h

    x = rms_norm(x, params["output_norm.weight"], eps)
    return x @ params.get("output.weight", embed).T


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


def stored_projections(params, layer):
    """The matrices of a layer that carry an adapter, by their names in the file."""
    names = [f"blk.{layer}.{p}" for p in ["attn_qkv", *PROJECTIONS]]
    return [n for n in names if f"{n}.weight" in params]


def make_lora(config, params, rank=4, alpha=8.0, spread=0.08):
    """The documented adapter on all projections of every layer (f32 values)."""
    lora = {"scale": alpha / rank}
    index = 0
    for layer in range(config["layers"]):
        for name in stored_projections(params, layer):
            rows, cols = params[f"{name}.weight"].shape
            a = (generator(rank * cols, index) * spread).astype(np.float32).reshape(rank, cols)
            b = (generator(rows * rank, index + 1) * spread).astype(np.float32)
            lora[name] = (a, b.reshape(rows, rank))
            index += 2
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
