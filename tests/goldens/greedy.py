# SPDX-License-Identifier: MIT OR Apache-2.0
"""greedy.json: llama.cpp's greedy continuations, with how clear every choice was.

Judge: llama.cpp with its default settings (f16 cache, its own quantised activations). Each
choice is also weighed by the f32 JAX reference along the same tokens: `reference_margin` is the
smallest lead of llama.cpp's token over every other token there (negative: the two disagree).
"""

from functools import partial

import gguf
import jax
import jinja2
import numpy as np

import reference_model as rm
from common import MODELS, model_path, write_json
from peer import Peer, peer_version

NEW = 32
PROMPTS = {
    "smollm2": [
        "2, 4, 6, 8, 10, 12,",
        "1 2 3 4 5 6 7 8",
        "100, 99, 98, 97, 96,",
        "The chemical symbol for water is",
        "Dear Sir or Madam,\n\nI am writing to",
    ],
    "gemma3": [
        "1 2 3 4 5 6 7 8",
        "The alphabet is: A, B, C, D, E, F,",
        "fn add(a: i32, b: i32) -> i32 {\n    a + b\n}\n\nfn sub(a: i32, b: i32) -> i32 {\n",
        "We hold these truths to be self-evident, that all men are",
        "The chemical symbol for water is",
    ],
}
CHATS = [
    [{"role": "user", "content": "Name the days of the week."}],
    [{"role": "user", "content": "How do I boil an egg?"}],
]


def render(path, messages):
    fields = gguf.GGUFReader(path).fields
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = env.from_string(fields["tokenizer.chat_template"].contents())
    return template.render(messages=messages, add_generation_prompt=True)


def lead(row, token):
    """How far a token is ahead of the best other one."""
    return float(row[token] - np.delete(row, token).max())


def continue_greedily(peer, prompt):
    peer.clear()
    row = peer.decode(prompt, 0)[0]
    out, margins = [], []
    while True:
        token = int(row.argmax())
        out.append(token)
        margins.append(lead(row, token))
        if len(out) == NEW or peer.is_end(token):
            return out, margins
        row = peer.decode([token], len(prompt) + len(out) - 1)[0]


def case(peer, reference, prompt, extra):
    out, margins = continue_greedily(peer, prompt)
    rows = reference(prompt + out)[len(prompt) - 1 :]
    ref = [lead(rows[i], t) for i, t in enumerate(out)]
    return {
        **extra,
        "prompt_tokens": prompt,
        "tokens": out,
        "text": peer.text(out),
        "ended": peer.is_end(out[-1]),
        "min_margin": round(min(margins), 4),
        "min_margin_at": int(np.argmin(margins)),
        "reference_margin": round(min(ref), 4),
    }


def main():
    result = {
        "about": f"greedy, at most {NEW} tokens or up to and with an end token; prompt_tokens "
        "hold the BOS where llama.cpp adds one; margins are logits of the token chosen less the "
        "best other",
        "peer": peer_version(),
        "models": {},
    }
    for key in MODELS:
        config, params = rm.load(model_path(key))
        forward = jax.jit(partial(rm.forward, config))

        def reference(ids):
            padded = np.zeros(-(-len(ids) // 64) * 64, np.int32)
            padded[: len(ids)] = ids  # what follows cannot be seen by what precedes
            return np.asarray(forward(params, padded))[: len(ids)]

        peer = Peer(key)
        cases = [
            case(peer, reference, peer.tokenize(t, add_special=True), {"kind": "raw", "prompt": t})
            for t in PROMPTS[key]
        ]
        if key == "smollm2":
            for messages in CHATS:
                text = render(model_path(key), messages)
                ids = peer.tokenize(text, add_special=True)
                extra = {"kind": "chat", "messages": messages, "prompt": text}
                cases.append(case(peer, reference, ids, extra))
        for c in cases:
            print(key, c["min_margin"], c["reference_margin"], repr(c["text"]), flush=True)
        result["models"][key] = {"file": MODELS[key], "cases": cases}
    write_json("greedy.json", result)


if __name__ == "__main__":
    main()
