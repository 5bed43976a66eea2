# SPDX-License-Identifier: MIT OR Apache-2.0
"""tiny/*.gguf and tiny.json: a small random model of every architecture and every weight type.

Judges: llama.cpp's logits (without and with an adapter; of quantised models on an f32 copy that
the gguf package dequantised), and JAX's gradients of the adapter by reference_model.py, which is
itself held against llama.cpp here.
"""

import tempfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reference_model as rm
import tiny_models
from common import HERE, write_json
from logits import f32_list
from peer import Peer, peer_version
from reference import write_f32
from tiny_vocab import TEXT

RANK, ALPHA, SPREAD = 2, 4.0, 0.4
TOKENS, SCORED, LAST = 40, 20, 2


def loss_of(config, scale, context, params, pairs, ids):
    logits = rm.forward(config, params, ids[:-1], {"scale": scale, **pairs}, context)
    chosen = jax.nn.log_softmax(logits[TOKENS - SCORED - 1 :], axis=-1)
    return -jnp.mean(chosen[jnp.arange(SCORED), ids[TOKENS - SCORED :]])


def closeness(ours, theirs):
    return float(f"{np.abs(ours - theirs).max() / np.abs(theirs).max():.2e}")


def architecture(name, spec):
    path = tiny_models.write(name, spec)
    config, params = rm.load(path)
    adapter = tiny_models.FOLDER / f"{name}.lora.gguf"
    lora = rm.make_lora(config, params, RANK, ALPHA, SPREAD)
    rm.write_adapter(adapter, lora, ALPHA, spec["arch"])
    cases = []
    for room in spec.get("room", [256]):
        peer = Peer(path, exact=True, context=room)
        ids = peer.tokenize(TEXT, add_special=True)[:TOKENS]
        array = jnp.asarray(ids, jnp.int32)
        plain = np.asarray(rm.forward(config, params, array, context=room))
        adapted = np.asarray(rm.forward(config, params, array, lora, room))
        theirs = peer.logits(ids)
        peer.set_adapter(adapter)
        theirs_adapted = peer.logits(ids)
        gap = (closeness(plain, theirs), closeness(adapted, theirs_adapted))
        print(f"{name:16} {room}: llama.cpp and JAX differ by {gap[0]:.1e}, with adapter {gap[1]:.1e} of the largest")
        if spec.get("judge") == "jax":
            assert gap[0] > 1e-2, "llama.cpp has a window after all"
            theirs, theirs_adapted = plain, adapted
        else:
            # llama.cpp's GELU reads a table of halves.
            assert max(gap) < (2e-3 if spec["arch"] == "gemma3" else 2e-5), gap
        pairs = {k: tuple(map(jnp.asarray, v)) for k, v in lora.items() if k != "scale"}
        step = jax.value_and_grad(partial(loss_of, config, lora["scale"], room), argnums=1)
        loss, grads = step(params, pairs, array)
        gradients, index = [], 0
        for tensor in pairs:  # JAX gives the gradients back sorted by name
            for which in (0, 1):
                g = np.asarray(grads[tensor][which], np.float64).reshape(-1)
                gradients.append([float(np.linalg.norm(g)), float(g @ rm.generator(g.size, index + 1000))])
                index += 1
        cases.append({
            "room": room,
            "logits": f32_list(theirs[-LAST:].reshape(-1)),
            "adapted": f32_list(theirs_adapted[-LAST:].reshape(-1)),
            "loss": float(loss),
            "gradients": gradients,
        })
    return {"text": TEXT, "tokens": ids, "judge": spec.get("judge", "llama.cpp"), "cases": cases}


def weight_type(name, spec):
    path = tiny_models.write(name, spec)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "f32.gguf"
        write_f32(path, copy)
        exact = Peer(copy, exact=True, context=256)
        ids = exact.tokenize(TEXT, add_special=True)[:TOKENS]
        want = exact.logits(ids)
        quantised = Peer(path, exact=True, context=256).logits(ids)
    rms = float(np.sqrt(np.mean((quantised - want) ** 2)) / np.abs(want).max())
    print(f"{name:16} llama.cpp's own kernels differ from f32 by {rms:.1e} (rms, of the largest)")
    return {"type": spec["type"], "tokens": ids, "llama.cpp_rms": float(f"{rms:.2e}"),
            "logits": f32_list(want[-LAST:].reshape(-1))}


def main():
    tiny_models.FOLDER.mkdir(exist_ok=True)
    out = {
        "about": f"logits of the last {LAST} of `tokens`, whole vocabulary, row after row; `adapted` with "
        f"NAME.lora.gguf (rank {RANK}, alpha {ALPHA}); `loss`: mean NLL of the last {SCORED} of {TOKENS} tokens "
        "with the adapter, `gradients`: [l2, dot with its probe] of A, B of each stored tensor in the adapter's "
        "order, by JAX (probe: gradients.json); `room`: positions that the context has room for",
        "peer": peer_version(),
        "rank": RANK,
        "alpha": ALPHA,
        "last": LAST,
        "scored": SCORED,
        "architectures": {n: architecture(n, s) for n, s in tiny_models.ARCHITECTURES.items()},
        "types": {n: weight_type(n, s) for n, s in tiny_models.TYPES.items()},
    }
    write_json("tiny.json", out)
    print(sum(p.stat().st_size for p in tiny_models.FOLDER.iterdir()), "bytes of models")


if __name__ == "__main__":
    main()
