# SPDX-License-Identifier: MIT OR Apache-2.0
"""dequant.json: the gguf package's dequantised values of tensors of every type in the models.

Judge: gguf.quants.dequantize (numpy), not this project's code.
"""

import hashlib

import gguf
from gguf.quants import dequantize

from common import MODELS, model_path, sha256_file, write_json

TENSORS = {
    "smollm2": [
        "token_embd.weight",
        "output_norm.weight",
        "blk.0.attn_norm.weight",
        "blk.0.attn_q.weight",
        "blk.0.attn_k.weight",
        "blk.7.attn_output.weight",
        "blk.14.ffn_down.weight",
        "blk.29.ffn_gate.weight",
    ],
    "gemma3": [
        "token_embd.weight",
        "output_norm.weight",
        "blk.0.attn_q_norm.weight",
        "blk.0.attn_q.weight",
        "blk.0.attn_v.weight",
        "blk.0.attn_output.weight",
        "blk.0.ffn_down.weight",
        "blk.9.ffn_gate.weight",
        "blk.17.ffn_down.weight",
    ],
}
MAX_ROWS = 64


def describe(tensor):
    data = tensor.data if tensor.data.ndim > 1 else tensor.data[None, :]
    rows = min(len(data), MAX_ROWS)
    values = dequantize(data[:rows], tensor.tensor_type).astype("<f4").reshape(rows, -1)
    bits = values.reshape(-1)[:8].view("<u4")
    return {
        "name": tensor.name,
        "type": tensor.tensor_type.name,
        "ne": [int(n) for n in tensor.shape],  # GGUF order: row length first
        "rows": rows,
        "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        "first8_bits": [int(b) for b in bits],
    }


def main():
    out = {
        "about": "sha256 of the little-endian f32 bytes of the first `rows` rows, dequantised by "
        "the gguf package; first8_bits are the u32 patterns of the first 8 values",
        "gguf": _version(),
        "models": {},
    }
    for key in MODELS:
        reader = gguf.GGUFReader(model_path(key))
        tensors = {t.name: t for t in reader.tensors}
        rows = [describe(tensors[name]) for name in TENSORS[key]]
        # Whatever types the list above misses are added, so that every type is covered.
        seen = {r["type"] for r in rows}
        for t in reader.tensors:
            if t.tensor_type.name not in seen:
                seen.add(t.tensor_type.name)
                rows.append(describe(t))
        out["models"][key] = {
            "file": MODELS[key],
            "sha256": sha256_file(model_path(key)),
            "tensors": rows,
        }
    write_json("dequant.json", out)


def _version():
    from importlib.metadata import version

    return version("gguf")


if __name__ == "__main__":
    main()
