"""A tiny random Mistral directory: the same classes, files and code path as GritLM-7B, small enough for a test."""

import json

import pytest

from wildsat_core.torchvision_guard import guard_torchvision

guard_torchvision()

SENTENCE = "cloud forest on a steep tropical ridge mangrove coast salt lake with pink birds dry grass plain"
WORDS = SENTENCE.split()


@pytest.fixture(scope="session")
def tiny_mistral(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import MistralConfig, MistralModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-mistral")
    special = ["<unk>", "<s>", "</s>", "<|embed|>", "\n"]
    vocabulary = {word: i for i, word in enumerate([*special, *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=["<|embed|>", "\n"],
    )  # fmt: skip
    fast.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = MistralConfig(
            vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=600, sliding_window=4,
            initializer_range=0.3,
        )  # fmt: skip
        MistralModel(config).save_pretrained(folder)
    # As in the published folder: a sliding window, and a pointer to code that no longer runs.
    written = json.loads((folder / "config.json").read_text())
    written["auto_map"] = {"AutoModel": "modeling_gritlm7b.MistralModel"}
    (folder / "config.json").write_text(json.dumps(written))
    return folder
