"""A tokenizer and two small models, one of which has a text by heart: shared by tests of memorization."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def prose(seed: int, words: int) -> str:
    """Pseudo-words in an order that only memory can know."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices("bdfgklmnprstaeiou", k=rng.randint(2, 7))) for _ in range(120)]
    return " ".join(rng.choices(vocabulary, k=words))


KNOWN, OTHER = prose(1, 260), prose(2, 260)


def bpe(texts: list[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `texts` with `size` tokens; token 0 begins and ends documents."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return bpe([KNOWN, OTHER], 400)


def tiny(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=400,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()


@pytest.fixture(scope="session")
def random_model() -> LlamaForCausalLM:
    return tiny(0)


@pytest.fixture(scope="session")
def memorizing_model(tokenizer: Any) -> LlamaForCausalLM:
    """Overfitted to KNOWN in seconds, and to nothing else."""
    model = tiny(0).train()
    ids = torch.tensor(tokenizer(KNOWN)["input_ids"])
    blocks = torch.stack([ids[i : i + 24] for i in range(0, len(ids) - 23, 4)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(250):
        batch = blocks[torch.randint(len(blocks), (32,), generator=generator)]
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
