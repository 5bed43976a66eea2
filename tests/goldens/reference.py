# SPDX-License-Identifier: MIT OR Apache-2.0
"""Judges the judge: is reference_model.py what llama.cpp computes? Prints, writes no golden.

The dequantised weights are written as an all-F32 GGUF into a temporary folder, so llama.cpp
runs the same weights without quantising activations; the difference left is float rounding
(and llama.cpp's f16 tables). SmolLM2 is also run with
the documented LoRA adapter, loaded by llama.cpp from a GGUF adapter file.
`python reference.py smollm2` stops after the first model.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import gguf
import jax
import numpy as np

import reference_model as rm
from common import LOGIT_PROMPTS, MODELS, model_path
from peer import Peer


def write_f32(source, target):
    reader = gguf.GGUFReader(source)
    w = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        w.add_key_value(name, field.contents(), field.types[0], sub)
    for t in reader.tensors:
        values = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        w.add_tensor(t.name, values.reshape([int(n) for n in t.shape[::-1]]))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def compare(label, ours, theirs):
    diff = np.abs(ours - theirs)
    agree = int((ours.argmax(1) == theirs.argmax(1)).sum())
    rms = float(np.sqrt(np.mean(diff**2)))
    print(f"{label}: top-1 {agree}/{len(ours)}, rms {rms:.2e}, max {diff.max():.2e}, "
          f"largest logit {np.abs(ours).max():.1f}", flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for key in MODELS:
            path = Path(folder) / "f32.gguf"
            write_f32(model_path(key), path)
            config, params = rm.load(model_path(key))
            forward = jax.jit(partial(rm.forward, config))
            f32, quantised = Peer(path, exact=True), Peer(key, exact=True)
            # The last case is longer than gemma3's window of 512.
            prompts = LOGIT_PROMPTS + [LOGIT_PROMPTS[1] * 11]
            cases = [f32.tokenize(t, add_special=True) for t in prompts]
            for ids in cases:
                ours = np.asarray(forward(params, np.asarray(ids, np.int32)))
                compare(f"{key} {len(ids)} tokens, f32 weights", ours, f32.logits(ids))
                compare(f"{key} {len(ids)} tokens, as shipped ", ours, quantised.logits(ids))
            if key == "smollm2":
                lora = rm.make_lora(config, params)
                adapter = Path(folder) / "adapter.gguf"
                rm.write_adapter(adapter, lora)
                f32.set_adapter(adapter)
                quantised.set_adapter(adapter)
                for ids in cases[:3]:
                    ours = np.asarray(forward(params, np.asarray(ids, np.int32), lora))
                    label = f"{key} {len(ids)} tokens + adapter"
                    compare(f"{label}, f32 weights", ours, f32.logits(ids))
                    compare(f"{label}, as shipped ", ours, quantised.logits(ids))
            if len(sys.argv) > 1 and sys.argv[1] == key:
                break


if __name__ == "__main__":
    main()
