# SPDX-License-Identifier: MIT OR Apache-2.0
"""An adapter that `unspoken` saved, in llama.cpp: the log-probabilities of a continuation in both, with the
adapter and without. Usage: our_adapter.py ADAPTER.gguf [UNSPOKEN_PROGRAM]"""

import json
import subprocess
import sys

import numpy as np

from common import model_path
from peer import Peer

PROMPT = "I want my family to know that I am safe when I travel alone, so"
CONTINUATION = " I will send them a short message at the end of each day."


def ours(program, adapter):
    command = [program, "score", "--json", "--raw", "--device", "cpu", "--model", str(model_path("smollm2"))]
    command += ["--prompt", PROMPT, "--continuation", CONTINUATION]
    command += ["--adapter", adapter] if adapter else []
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["log_probs"]


def theirs(adapter):
    peer = Peer("smollm2", exact=True)
    if adapter:
        peer.set_adapter(adapter)
    prompt, answer = peer.tokenize(PROMPT), peer.tokenize(CONTINUATION)
    logits = np.asarray(peer.decode(prompt + answer, 0, every=True), dtype=np.float64)
    rows = logits[len(prompt) - 1 : len(prompt) + len(answer) - 1]
    top = rows.max(axis=1, keepdims=True)
    lse = top[:, 0] + np.log(np.exp(rows - top).sum(axis=1))
    return [float(row[t] - z) for row, t, z in zip(rows, answer, lse)]


def main():
    adapter = sys.argv[1]
    program = sys.argv[2] if len(sys.argv) > 2 else "target/release/unspoken"
    means = {}
    for name, path in [("without", None), ("with", adapter)]:
        a, b = np.array(ours(program, path)), np.array(theirs(path))
        means[name] = a.mean()
        print(f"{name} adapter: ours {a.mean():.4f}, llama.cpp {b.mean():.4f}, mean |difference| {np.abs(a - b).mean():.4f}")
    print(f"the adapter moves ours by {means['with'] - means['without']:+.4f} nats a token")


main()
