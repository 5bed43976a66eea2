# SPDX-License-Identifier: MIT OR Apache-2.0
"""gradients.json + gradients.bin: LoRA gradients and AdamW steps of SmolLM2 by JAX.

Judge: jax.value_and_grad over reference_model.py in f32; repeated in f64 to state how large
the rounding is (`f64`). The adapter is never stored: its numbers come from an integer hash.
Loss: mean negative log likelihood of the last 24 of 48 tokens (targets at positions 24..47,
predicted from positions 23..46).
"""

from functools import partial

import jax

jax.config.update("jax_enable_x64", True)  # the f32 run below stays f32: its arrays are f32

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import reference_model as rm  # noqa: E402
from common import GRADIENT_TEXT, HERE, MODELS, model_path, write_json  # noqa: E402
from logits import f32_list  # noqa: E402
from peer import Peer, peer_version  # noqa: E402

RANK, ALPHA, SPREAD = 4, 8.0, 0.08
TOKENS, SCORED = 48, 24
FULL_LAYERS = [0, 14, 29]
STRIDE = 31
LR, B1, B2, EPS, DECAY = 1e-3, 0.9, 0.999, 1e-8, 0.01


def loss_of(config, scale, params, pairs, ids):
    logits = rm.forward(config, params, ids[:-1], {"scale": scale, **pairs})
    chosen = jax.nn.log_softmax(logits[TOKENS - SCORED - 1 :], axis=-1)
    return -jnp.mean(chosen[jnp.arange(SCORED), ids[TOKENS - SCORED :]])


def adamw(pairs, grads, first, second, step):
    """torch.optim.AdamW: decay first, then the bias-corrected step; in f32."""

    def one(p, g, m, v):
        p = p * (1 - LR * DECAY)
        m = B1 * m + (1 - B1) * g
        v = B2 * v + (1 - B2) * g * g
        root = jnp.sqrt(v) / np.sqrt(1 - B2**step).astype(p.dtype) + EPS
        return p - (LR / (1 - B1**step)) * m / root, m, v

    packed = jax.tree.map(one, pairs, grads, first, second)
    is_triple = lambda x: isinstance(x, tuple) and len(x) == 3  # noqa: E731
    return [jax.tree.map(lambda t, k=k: t[k], packed, is_leaf=is_triple) for k in range(3)]


def train(value_and_grad, params, pairs, ids):
    losses, first_grads = [], None
    m = jax.tree.map(jnp.zeros_like, pairs)
    v = jax.tree.map(jnp.zeros_like, pairs)
    for step in range(1, 5):
        loss, grads = value_and_grad(params, pairs, ids)
        losses.append(float(loss))
        first_grads = first_grads or grads
        if step < 4:
            pairs, m, v = adamw(pairs, grads, m, v, step)
    return losses, first_grads, pairs


def main():
    path = model_path("smollm2")
    peer = Peer("smollm2", exact=True)
    ids = peer.tokenize(GRADIENT_TEXT, add_special=True)[:TOKENS]
    assert len(ids) == TOKENS
    array = jnp.asarray(ids, jnp.int32)

    runs = {}
    for dtype in (np.float32, np.float64):
        config, params = rm.load(path, dtype)
        lora = rm.make_lora(config, params, RANK, ALPHA, SPREAD)
        pairs = {
            k: (jnp.asarray(a[0], dtype), jnp.asarray(a[1], dtype))
            for k, a in lora.items()
            if k != "scale"
        }
        step = jax.jit(jax.value_and_grad(partial(loss_of, config, lora["scale"]), argnums=1))
        losses, grads, trained = train(step, params, pairs, array)
        assert all(g.dtype == dtype for g in jax.tree.leaves(grads)), "a type was promoted"
        assert all(g.dtype == dtype for g in jax.tree.leaves(trained)), "a type was promoted"
        forward = jax.jit(partial(rm.forward, config))
        logits = np.asarray(forward(params, array, {"scale": lora["scale"], **pairs}))
        runs[dtype] = (losses, jax.tree.map(np.asarray, grads), logits)
        print(np.dtype(dtype).name, losses, flush=True)
    losses, grads, logits = runs[np.float32]
    losses64, grads64, logits64 = runs[np.float64]

    tensors, blob = [], bytearray()
    worst = 0.0
    for layer in range(config["layers"]):
        for p, proj in enumerate(rm.PROJECTIONS):
            name = f"blk.{layer}.{proj}"
            for which in (0, 1):
                index = 2 * (layer * len(rm.PROJECTIONS) + p) + which
                g, g64 = grads[name][which], grads64[name][which]
                wide = g.astype(np.float64).reshape(-1)
                probe = rm.generator(wide.size, index + 1000)
                error = np.linalg.norm(wide - g64.reshape(-1)) / np.linalg.norm(g64)
                worst = max(worst, float(error))
                entry = {
                    "name": f"{name}.weight.lora_{'ab'[which]}",
                    "index": index,
                    "shape": list(g.shape),
                    "l2": float(np.linalg.norm(wide)),
                    "dot": float(wide @ probe),
                    "dot_f64": float(g64.reshape(-1) @ probe),
                }
                if layer in FULL_LAYERS:
                    entry["offset"] = len(blob)
                    blob += g.astype("<f4").tobytes()
                tensors.append(entry)
    (HERE / "gradients.bin").write_bytes(bytes(blob))

    adapter = HERE / "adapter_smollm2_r4.tmp"
    try:
        rm.write_adapter(adapter, lora, ALPHA)
        peer.set_adapter(adapter)
        theirs = peer.logits(ids)
    finally:
        adapter.unlink(missing_ok=True)
    diff = theirs - logits
    write_json("gradients.json", {
        "about": "SmolLM2 with LoRA on q,k,v,o,gate,up,down of every layer; loss = mean NLL of "
        f"the last {SCORED} of {TOKENS} tokens; gradients of that loss by the adapter's numbers",
        "file": MODELS["smollm2"],
        "generator": "u(i, t) = fmix32((i*2654435761 + t*40503 + 12345) mod 2^32) / 2^32 in f64, "
        "fmix32 = murmur3's finaliser (h^=h>>16; h*=0x85ebca6b; h^=h>>13; h*=0xc2b2ae35; "
        "h^=h>>16); adapter value = f32((u - 0.5) * 0.08); t = 2*(layer*7 + proj) + (0 for A, "
        "1 for B), proj in q,k,v,o,gate,up,down; i = flat row-major index into A [r,in] or "
        "B [out,r]; the probe of `dot` is u(i, t + 1000) - 0.5 in f64, unscaled",
        "generator_samples": [
            {"i": i, "t": t, "u": float(rm.generator(i + 1, t)[i] + 0.5)}
            for i, t in [(0, 0), (1, 0), (0, 1), (12345, 419), (6143, 1419)]
        ],
        "rank": RANK,
        "alpha": ALPHA,
        "text": GRADIENT_TEXT,
        "tokens": ids,
        "scored": SCORED,
        "loss": losses[0],
        "loss_f64": losses64[0],
        "worst_gradient_error_f32_vs_f64": worst,
        "adamw": {
            "lr": LR, "beta1": B1, "beta2": B2, "eps": EPS, "weight_decay": DECAY,
            "about": "torch.optim.AdamW, no clipping; losses before steps 1, 2, 3 and after 3",
            "losses": losses,
            "losses_f64": losses64,
        },
        "bin": "gradients.bin: little-endian f32, row-major, at the byte `offset` of each tensor "
        f"that has one (layers {FULL_LAYERS})",
        "logits": {
            "stride": STRIDE,
            "about": "with the adapter, before any step",
            "positions": [
                {
                    "position": p,
                    "argmax": int(logits[p].argmax()),
                    "min": f32_list([logits[p].min()])[0],
                    "max": f32_list([logits[p].max()])[0],
                    "logits": f32_list(logits[p, ::STRIDE]),
                }
                for p in (TOKENS // 2 - 1, TOKENS - 1)
            ],
            "max_diff_f32_vs_f64": float(np.abs(logits - logits64).max()),
            "llama.cpp": {
                "peer": peer_version(),
                "top1_agree": f"{int((logits.argmax(1) == theirs.argmax(1)).sum())}/{TOKENS}",
                "rms_diff": float(np.sqrt(np.mean(diff**2))),
                "max_diff": float(np.abs(diff).max()),
            },
        },
        "tensors": tensors,
    })
    print("worst relative gradient error, f32 vs f64:", worst)


if __name__ == "__main__":
    main()
