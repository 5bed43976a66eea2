# SPDX-License-Identifier: MIT OR Apache-2.0
"""llama.cpp as a judge: token ids, logits and text, through llama-cpp-python's C bindings."""

import ctypes

import llama_cpp as lc
import numpy as np

from common import model_path

_quiet = lc.llama_log_callback(lambda level, text, data: None)
lc.llama_log_set(_quiet, ctypes.c_void_p(0))
lc.llama_backend_init()


def peer_version():
    return f"llama-cpp-python {lc.__version__}, CPU"


class Peer:
    """One model. exact=True keeps the cache in f32 and turns flash attention off."""

    def __init__(self, key, vocab_only=False, exact=False, context=1024, threads=2):
        params = lc.llama_model_default_params()
        params.vocab_only = vocab_only
        params.n_gpu_layers = 0
        self.model = lc.llama_model_load_from_file(str(model_path(key)).encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {model_path(key)}")
        self.vocab = lc.llama_model_get_vocab(self.model)
        self.vocab_size = lc.llama_vocab_n_tokens(self.vocab)
        self.context = None
        if not vocab_only:
            cp = lc.llama_context_default_params()
            cp.n_ctx, cp.n_batch, cp.n_ubatch = context, context, context
            cp.n_threads = cp.n_threads_batch = threads
            if exact:
                cp.flash_attn_type = lc.LLAMA_FLASH_ATTN_TYPE_DISABLED
                cp.type_k = cp.type_v = 0  # GGML_TYPE_F32
            self.context = lc.llama_init_from_model(self.model, cp)

    def tokenize(self, text, special=True, add_special=False):
        raw = text.encode("utf-8")
        room = len(raw) + 16
        ids = (lc.llama_token * room)()
        n = lc.llama_tokenize(self.vocab, raw, len(raw), ids, room, add_special, special)
        if n < 0:
            raise RuntimeError("llama_tokenize failed")
        return list(ids[:n])

    def text(self, ids):
        array = (lc.llama_token * len(ids))(*ids)
        buffer = ctypes.create_string_buffer(32 * len(ids) + 64)
        n = lc.llama_detokenize(self.vocab, array, len(ids), buffer, len(buffer), False, True)
        return buffer.raw[:n].decode("utf-8", errors="replace")

    def is_end(self, token):
        return bool(lc.llama_vocab_is_eog(self.vocab, token))

    def set_adapter(self, path):
        adapter = lc.llama_adapter_lora_init(self.model, str(path).encode())
        if not adapter:
            raise RuntimeError(f"llama.cpp cannot load the adapter {path}")
        handles = (lc.llama_adapter_lora_p_ctypes * 1)(adapter)
        scales = (ctypes.c_float * 1)(1.0)
        if lc.llama_set_adapters_lora(self.context, handles, 1, scales) != 0:
            raise RuntimeError("llama.cpp refused the adapter")

    def clear(self):
        lc.llama_memory_clear(lc.llama_get_memory(self.context), True)

    def decode(self, ids, start, every=False):
        """Feeds ids at positions start..; logits of every position or only the last."""
        batch = lc.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = token
            batch.pos[i] = start + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = every or i + 1 == len(ids)
        status = lc.llama_decode(self.context, batch)
        wanted = range(len(ids)) if every else [len(ids) - 1]
        if status != 0:
            raise RuntimeError(f"llama_decode: {status}")
        rows = [
            np.ctypeslib.as_array(lc.llama_get_logits_ith(self.context, i), (self.vocab_size,))
            for i in wanted
        ]
        out = np.array(rows, np.float32)
        lc.llama_batch_free(batch)
        return out

    def logits(self, ids):
        self.clear()
        return self.decode(ids, 0, every=True)
