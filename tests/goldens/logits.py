# SPDX-License-Identifier: MIT OR Apache-2.0
"""logits_<model>.json: logits of the JAX reference, and how far llama.cpp is from them.

Judge: reference_model.py in f32 (token ids by llama.cpp). The `llama.cpp` numbers show what the
quantised activations of another runtime cost, as a scale for tolerances.
"""

from functools import partial

import jax
import numpy as np

import reference_model as rm
from common import LOGIT_PROMPTS, MODELS, model_path, write_json
from peer import Peer, peer_version

STRIDE = 31
LAST = 4


def f32_list(values):
    """Shortest decimals that read back as exactly the same f32."""
    return [float(str(np.float32(v))) for v in values]


def main():
    for key in MODELS:
        config, params = rm.load(model_path(key))
        forward = jax.jit(partial(rm.forward, config))
        peer = Peer(key, exact=True)
        cases = []
        for text in LOGIT_PROMPTS:
            ids = peer.tokenize(text, special=True, add_special=True)
            ours = np.asarray(forward(params, np.asarray(ids, np.int32)))
            theirs = peer.logits(ids)
            diff = theirs - ours
            scale = float(np.sqrt(np.mean((ours - ours.mean(axis=1, keepdims=True)) ** 2)))
            first = len(ids) - LAST
            cases.append({
                "text": text,
                "tokens": ids,
                "positions": [
                    {
                        "position": p,
                        "argmax": int(ours[p].argmax()),
                        "min": f32_list([ours[p].min()])[0],
                        "max": f32_list([ours[p].max()])[0],
                        "logits": f32_list(ours[p, ::STRIDE]),
                    }
                    for p in range(first, len(ids))
                ],
                "llama.cpp": {
                    "top1_agree": f"{int((ours.argmax(1) == theirs.argmax(1)).sum())}/{len(ids)}",
                    "rms_diff": round(float(np.sqrt(np.mean(diff**2))), 6),
                    "max_diff": round(float(np.abs(diff).max()), 6),
                    "rms_logit": round(scale, 6),
                },
            })
            print(key, len(ids), cases[-1]["llama.cpp"])
        write_json(f"logits_{key}.json", {
            "about": f"f32 JAX logits over gguf-dequantised weights; last {LAST} positions, every "
            f"{STRIDE}st vocabulary entry (ids 0, {STRIDE}, {2 * STRIDE}, ...); argmax, min and max "
            "are over the whole vocabulary",
            "file": MODELS[key],
            "peer": peer_version(),
            "stride": STRIDE,
            "vocab": peer.vocab_size,
            "cases": cases,
        })


if __name__ == "__main__":
    main()
