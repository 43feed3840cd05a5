"""Small random encoder-decoders of every family that search runs."""

from typing import Any

import torch

VOCABULARY = 40
EOS_ID = 1


def _t5(model: str, config: str, **other: Any) -> Any:
    import transformers

    shape = {
        "vocab_size": VOCABULARY,
        "d_model": 16,
        "d_kv": 4,
        "d_ff": 32,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
    }
    return getattr(transformers, model)(getattr(transformers, config)(**(shape | other)))


def _bart(model: str, config: str, **other: Any) -> Any:
    import transformers

    shape = {
        "vocab_size": VOCABULARY,
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "eos_token_id": EOS_ID,
        "bos_token_id": 2,
        "decoder_start_token_id": 0,
        "forced_eos_token_id": None,
        "init_std": 0.5,
    }
    return getattr(transformers, model)(getattr(transformers, config)(**(shape | other)))


_FAMILIES = {
    "t5": lambda: _t5("T5ForConditionalGeneration", "T5Config"),
    "t5-untied": lambda: _t5(
        "T5ForConditionalGeneration", "T5Config", feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
    "byt5": lambda: _t5(
        "T5ForConditionalGeneration", "T5Config", vocab_size=384, feed_forward_proj="gated-gelu", num_layers=3
    ),
    "mt5": lambda: _t5("MT5ForConditionalGeneration", "MT5Config"),
    "umt5": lambda: _t5("UMT5ForConditionalGeneration", "UMT5Config"),
    "bart": lambda: _bart("BartForConditionalGeneration", "BartConfig"),
    "mbart": lambda: _bart("MBartForConditionalGeneration", "MBartConfig"),
    "pegasus": lambda: _bart("PegasusForConditionalGeneration", "PegasusConfig", scale_embedding=True),
    "marian": lambda: _bart("MarianMTModel", "MarianConfig", scale_embedding=True),
    "blenderbot": lambda: _bart("BlenderbotForConditionalGeneration", "BlenderbotConfig"),
}

FAMILIES = tuple(_FAMILIES)
"""Names for `tiny_model`; blenderbot stands for the families that are run by the model's own forward."""


def tiny_model(family: str, seed: int = 0) -> Any:
    """A random model in evaluation mode."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = _FAMILIES[family]().eval()
    torch.set_rng_state(state)
    return model
