# SPDX-License-Identifier: MIT OR Apache-2.0
"""vocabs.json: llama.cpp's ids of our awkward strings with every pre-tokenizer and every kind of
SentencePiece vocabulary that we read, on a small vocabulary of our own (kept in the file), and, where
$UNSPOKEN_VOCABS names a folder with llama.cpp's `ggml-vocab-*.gguf`, with those families' real
vocabularies. The strings are those of tokens.json.
"""

import os
import tempfile
from pathlib import Path

import gguf

import tiny_vocab
from common import HERE, write_json
from peer import Peer, peer_version
from tokens import STRINGS

PRE_TOKENIZERS = (
    "default gpt-2 phi-2 olmo smollm starcoder refact command-r llama-bpe llama3 llama-v3 pixtral dbrx "
    "smaug-bpe qwen2 deepseek-r1-qwen megrez stablelm2 tekken gpt-4o llama4"
).split()
REAL = "llama-bpe llama-spm phi-3 qwen2 gpt-2 starcoder refact command-r".split()
MERGES = 900


def both(peer):
    return {
        "parsed": [peer.tokenize(s, special=True) for s in STRINGS],
        "plain": [peer.tokenize(s, special=False) for s in STRINGS],
    }


def bpe(folder):
    # Learned from the strings themselves and without cuts: merges reach across every border.
    tokens, merges, types = tiny_vocab.bpe(MERGES, "\n".join(STRINGS) + tiny_vocab.TEXT)
    ids = {}
    for pre in PRE_TOKENIZERS:
        path = Path(folder) / "bpe.gguf"
        w = gguf.GGUFWriter(path, "llama")
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_list(tokens)
        w.add_token_types(types)
        w.add_token_merges(merges)
        finish(w)
        ids[pre] = both(Peer(path, vocab_only=True))
    # Names with the same rules have the same ids: one list for each of them.
    first, families = {}, {}
    for pre in PRE_TOKENIZERS:
        key = str(ids[pre])
        families.setdefault(first.setdefault(key, pre), []).append(pre)
    print({k: v for k, v in families.items()})
    return {"tokens": tokens, "merges": merges, "types": [int(t) for t in types], "families": families,
            "ids": {pre: ids[pre]["plain"] for pre in families}}


def spm(folder):
    out = {}
    for prefix in (True, False):
        path = Path(folder) / "spm.gguf"
        w = gguf.GGUFWriter(path, "llama")
        tiny_vocab.add_spm(w, 120, prefix)
        finish(w)
        out[f"space_prefix_{prefix}".lower()] = both(Peer(path, vocab_only=True))
        fields = gguf.GGUFReader(path).fields
    get = lambda key: fields[f"tokenizer.ggml.{key}"].contents()  # noqa: E731
    return {"tokens": get("tokens"), "scores": get("scores"), "types": get("token_type"), "ids": out}


def finish(w):
    # llama.cpp wants these before it looks at a vocabulary.
    for add, value in ((w.add_context_length, 64), (w.add_embedding_length, 32), (w.add_block_count, 1),
                       (w.add_feed_forward_length, 32), (w.add_head_count, 1)):
        add(value)
    w.add_layer_norm_rms_eps(1e-5)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def real():
    folder = os.environ.get("UNSPOKEN_VOCABS")
    if not folder:
        print("UNSPOKEN_VOCABS is not set: the real vocabularies' ids are kept as they are")
        path = HERE / "vocabs.json"
        import json

        return json.loads(path.read_text()).get("real", {}) if path.exists() else {}
    return {name: both(Peer(Path(folder) / f"ggml-vocab-{name}.gguf", vocab_only=True)) for name in REAL}


def main():
    with tempfile.TemporaryDirectory() as folder:
        write_json("vocabs.json", {
            "about": "llama.cpp's ids of tokens.json's strings, in order; add_special=false; parsed: "
            "parse_special=true, plain: false; bpe.ids are plain; real: llama.cpp's own vocabulary files",
            "llama.cpp": peer_version(),
            "bpe": bpe(folder),
            "spm": spm(folder),
            "real": real(),
        })


if __name__ == "__main__":
    main()
