# SPDX-License-Identifier: MIT OR Apache-2.0
"""The outside yardstick for a training step: PyTorch + peft, SmolLM2-135M's shapes, f32 on the CPU.

LoRA (r=16) on all seven projections, AdamW, batch 1; prints one JSON line per sequence length. With
--device cuda on an NVIDIA card, and with --dtype bfloat16 in that type.
The weights are random unless --gguf names a model: the time of a step does not depend on them.

    python torch_lora_step.py [--threads 2] [--lengths 128 256 512] [--rank 16] [--runs 5]
"""

import argparse
import json
import statistics
import time

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def build(gguf_path, rank):
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
        rms_norm_eps=1e-5, tie_word_embeddings=True, use_cache=False,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        attn_implementation="sdpa",
    )
    torch.manual_seed(7)
    model = LlamaForCausalLM(config).float()
    if gguf_path:
        load_gguf(model, gguf_path)
    lora = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, bias="none", target_modules=TARGETS,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora).train()


def load_gguf(model, path):
    """Dequantised weights; the rows of q and k stay as GGUF orders them (the time is the same)."""
    import gguf

    state = model.state_dict()
    for t in gguf.GGUFReader(path).tensors:
        values = gguf.quants.dequantize(t.data, t.tensor_type)
        tensor = torch.from_numpy(values.reshape([int(n) for n in t.shape[::-1]]).copy())
        parts = t.name.split(".")
        if parts[0] == "blk":
            state[f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"] = tensor
        elif parts[0] == "token_embd":
            state["model.embed_tokens.weight"] = state["lm_head.weight"] = tensor
        else:
            state["model.norm.weight"] = tensor
    model.load_state_dict(state)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--lengths", type=int, nargs="+", default=[128, 256, 512])
    args.add_argument("--rank", type=int, default=16)
    args.add_argument("--runs", type=int, default=5)
    args.add_argument("--warmup", type=int, default=2)
    args.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    args.add_argument("--gguf", help="take the base weights from this model")
    args = args.parse_args()

    torch.set_num_threads(args.threads)
    model = build(args.gguf, args.rank).to(args.device, getattr(torch, args.dtype))
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-3)
    generator = torch.Generator().manual_seed(7)
    for length in args.lengths:
        ids = torch.randint(0, 49152, (1, length), generator=generator).to(args.device)
        seconds, loss = [], None
        for _ in range(args.warmup + args.runs):
            start = time.perf_counter()
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if args.device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        kept = seconds[args.warmup :]
        median = statistics.median(kept)
        print(json.dumps({
            "peer": "torch+peft", "torch": torch.__version__, "peft": peft.__version__,
            "transformers": transformers.__version__, "threads": args.threads,
            "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu", "dtype": args.dtype,
            "rank": args.rank, "trainable": sum(p.numel() for p in trainable),
            "batch": 1, "length": length, "runs": args.runs,
            "step_s": round(median, 4), "step_s_min": round(min(kept), 4),
            "step_s_max": round(max(kept), 4), "tokens_per_s": round(length / median, 1),
            "loss": round(float(loss), 4),
        }), flush=True)


if __name__ == "__main__":
    main()
