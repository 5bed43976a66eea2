# SPDX-License-Identifier: MIT OR Apache-2.0
"""Small vocabularies for small models: byte-level BPE and SentencePiece with scores.

Merges are learned from our own text without any pre-tokenizer, so that many of them reach across
the places where one would cut: a wrong pre-tokenizer shows in the ids.
"""

from collections import Counter

import gguf

TEXT = (
    "A lighthouse keeper lived alone on a small island. Every evening he climbed the 112 steps, lit "
    "the lamp, and wrote the weather into a thick blue book. \"Isn't it lonely?\" asked the postman "
    "in 1987. \"It's quiet,\" he'd say, \"and that's not the same.\"\n\nThe river begins as a thin "
    "stream high in the mountains;  it runs past 2 villages and an old mill, and they're wide enough "
    "for boats by 12,500 metres.\n\tOne winter night, during a storm, he heard someone knocking."
)
BOS, EOS, TURN = "<|begin|>", "<|endoftext|>", "<|im_end|>"


def byte_chars():
    """GPT-2's character of each byte: printable bytes are themselves, the others move to 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return [table[b] for b in range(256)]


def learn(symbols, count, allowed=lambda pair: True):
    """The `count` most frequent merges of a list of symbols, one after the other."""
    symbols, merges = list(symbols), []
    while len(merges) < count:
        pairs = Counter(p for p in zip(symbols, symbols[1:]) if allowed(p) and len("".join(p)) <= 8)
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        out, i = [], 0
        while i < len(symbols):
            if tuple(symbols[i : i + 2]) == best:
                out.append("".join(best))
                i += 2
            else:
                out.append(symbols[i])
                i += 1
        symbols = out
    return merges


def bpe(merge_count, text=TEXT):
    """(tokens, merges, types): the bytes, what merges make, three special tokens."""
    chars = byte_chars()
    merges = learn([chars[b] for b in text.encode()], merge_count)
    # Two merges may make the same token.
    tokens = list(dict.fromkeys([*chars, *("".join(m) for m in merges)]))
    types = [gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.CONTROL] * 3
    return [*tokens, BOS, EOS, TURN], [" ".join(m) for m in merges], types


def add_bpe(writer, pre, merge_count, add_bos=False):
    tokens, merges, types = bpe(merge_count)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index(BOS))
    writer.add_eos_token_id(tokens.index(EOS))
    writer.add_add_bos_token(add_bos)
    return len(tokens)


def add_spm(writer, piece_count, space_prefix):
    """<unk> <s> </s>, the bytes, the text's characters, then pieces by falling score."""
    text = TEXT.replace(" ", "\u2581")
    merges = learn(text, piece_count, lambda p: "\n" not in "".join(p))
    pieces = list(dict.fromkeys("".join(m) for m in merges))
    singles = [c for c in sorted(set(text)) if c not in "\n\t"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces, *singles]
    kinds = gguf.TokenType
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256]
    types += [kinds.NORMAL] * (len(tokens) - len(types))
    scores = [0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(space_prefix)
    return len(tokens)
