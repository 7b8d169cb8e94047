"""A Llama of 50 thousand random weights, made from a config: it says nothing sensible, and is served like any other.

Its tokenizer knows the 256 bytes, so a text has as many tokens as bytes. Written without torch: that takes seconds to
import.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

CONTEXT = 8192
"""Tokens."""
_HIDDEN, _INNER, _LAYERS, _HEADS = 64, 128, 2, 2
_SPECIAL = ("<|end|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def write_model(folder: Path) -> Path:
    """A folder that vLLM serves. Answers end after 48 tokens where the request sets no other limit."""
    folder.mkdir(parents=True)
    vocabulary = _write_tokenizer(folder)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": _HIDDEN,
        "intermediate_size": _INNER,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "max_position_embeddings": CONTEXT,
        "vocab_size": vocabulary,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "generation_config.json").write_text(json.dumps({"max_new_tokens": 48, "eos_token_id": 2}), "utf-8")
    save_file(_weights(vocabulary), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_adapter(folder: Path, base: Path, rank: int = 8) -> Path:
    """A LoRA adapter as peft writes it, of random weights large enough to change every answer."""
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": rank,
        "lora_alpha": 4 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    drawn = np.random.default_rng(1)
    weights = {}
    for layer in range(_LAYERS):
        for module in ("q_proj", "v_proj"):
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = drawn.normal(size=(rank, _HIDDEN)).astype(np.float32)
            weights[f"{name}.lora_B.weight"] = drawn.normal(size=(_HIDDEN, rank)).astype(np.float32)
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def _write_tokenizer(folder: Path) -> int:
    """Returns the size of the vocabulary."""
    tokens = [*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|end|>",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    (folder / "chat_template.jinja").write_text(_TEMPLATE, "utf-8")
    return len(tokens)


def _weights(vocabulary: int) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (drawn.normal(size=(rows, columns)) * 0.1).astype(np.float32)

    weights = {"model.embed_tokens.weight": matrix(vocabulary, _HIDDEN), "model.norm.weight": _ones()}
    for layer in range(_LAYERS):
        name = f"model.layers.{layer}"
        weights |= {f"{name}.self_attn.{part}_proj.weight": matrix(_HIDDEN, _HIDDEN) for part in "qkvo"}
        weights |= {f"{name}.mlp.{part}_proj.weight": matrix(_INNER, _HIDDEN) for part in ("gate", "up")}
        weights[f"{name}.mlp.down_proj.weight"] = matrix(_HIDDEN, _INNER)
        weights |= {f"{name}.{part}_layernorm.weight": _ones() for part in ("input", "post_attention")}
    return weights


def _ones() -> np.ndarray:
    return np.ones(_HIDDEN, np.float32)
