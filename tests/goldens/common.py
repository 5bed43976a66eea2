# SPDX-License-Identifier: MIT OR Apache-2.0
"""Shared by the golden scripts: where the models lie, how files are written."""

import hashlib
import json
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS_DIR = Path(os.environ.get("UNSPOKEN_MODELS", HERE.parent.parent / ".cache" / "models"))
MODELS = {
    "smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "gemma3": "gemma3-270m-Q4_K_M.gguf",
}

# Raw prompts, one list for every script (no chat template, BOS as llama.cpp adds it).
# The first is short, the second longer than 40 tokens, the third is code.
LOGIT_PROMPTS = [
    "The capital of France is",
    "A lighthouse keeper lived alone on a small island in the north sea. Every evening he "
    "climbed the one hundred and twelve steps, lit the lamp, and wrote the weather into a "
    "thick blue book. One winter night, during a storm, he heard someone knocking at the door",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
]

# The text of the gradient golden; the first 48 tokens of it are used.
GRADIENT_TEXT = (
    "The river begins as a thin stream high in the mountains, where the snow melts slowly in "
    "the spring sun. It runs past two villages and an old stone mill, and by the time it "
    "reaches the plain it is wide enough for boats. Farmers use its water for their fields."
)


def model_path(key):
    """A model's file; a path is taken as it is."""
    return MODELS_DIR / MODELS[key] if key in MODELS else Path(key)


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_json(name, value):
    """One key per line at the top, compact below: small files, readable diffs."""
    path = HERE / name
    path.write_text(_dump(value) + "\n", encoding="utf-8")
    print(f"wrote {name}: {path.stat().st_size} bytes")


def _dump(value, level=0):
    pad, end = " " * (level + 1), " " * level
    flat = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    if len(flat) <= 96 or not isinstance(value, (dict, list)):
        return flat
    if isinstance(value, list) and all(isinstance(v, (int, float)) for v in value):
        return flat
    if isinstance(value, dict):
        items = [f"{pad}{json.dumps(k)}: {_dump(v, level + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(items) + "\n" + end + "}"
    return "[\n" + ",\n".join(pad + _dump(v, level + 1) for v in value) + "\n" + end + "]"
