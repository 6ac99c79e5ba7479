"""Small tokenizers of the kinds that models have: GPT-NeoX-, Qwen2.5- and Llama-like."""

from __future__ import annotations

from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

TEXT = ["def f(x):\n    return x  # the world of im_start, tool_call and s, end of text\n" * 3]


def _bytes(control: list[str], plain: list[str]) -> Tokenizer:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=control[:1],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    raw.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in control[1:]])
    raw.add_tokens([AddedToken(x, special=False, normalized=False) for x in plain])
    return raw


def neox() -> Any:
    """One control token for all; runs of spaces are added tokens, not special. Nothing before a text."""
    end = "<|endoftext|>"
    raw = _bytes([end], ["    ", "  "])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=end, eos_token=end, unk_token=end)


def qwen() -> Any:
    """No BOS; control tokens beside EOS; `<tool_call>` is an added token that is not special."""
    raw = _bytes(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ["<tool_call>"])
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|endoftext|>", pad_token="<|endoftext|>")


def llama() -> Any:
    """Pieces with a mark for spaces, bytes for what is unknown, BOS put before every text."""
    raw = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    control = ["<unk>", "<s>", "</s>"]
    # bytes are pieces of the model and no control tokens
    pieces = [*control, *(f"<0x{i:02X}>" for i in range(256))]
    letters = sorted({c for t in TEXT for c in t if c not in "\n "} | {"▁"})
    vocab = {p: i for i, p in enumerate([*pieces, *letters])}
    raw.model = models.BPE(vocab=vocab, merges=[], byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    raw.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in control])
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def words() -> Any:
    """Unigram pieces, among which are the names of the control tokens: these cannot be written as text."""
    raw = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *((c, -3.0) for c in "abc</s>")], unk_id=0)
    )
    raw.add_special_tokens(["</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", unk_token="<unk>")


def model(tokenizer: Any, path: Any, *, rows: int | None = None, positions: int = 256, **config: Any) -> str:
    """A random Llama (hidden 32, 2 layers) of this tokenizer at `path`; rows: of its embedding."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer.save_pretrained(path)
    given = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id) | config
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=rows or len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=positions,
            **given,
        )
    ).save_pretrained(path)
    return str(path)
