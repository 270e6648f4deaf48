#!/usr/bin/env python3
"""Writes imported.onnx: a small GPT as PyTorch exports it.

    pip install torch onnx onnxscript
    python export.py
"""

import pathlib

import torch
from torch import nn
from torch.nn import functional as F

CHARACTERS, CONTEXT, WIDTH, HEADS, BLOCKS, DROPOUT = 128, 64, 64, 4, 2, 0.1


class Block(nn.Module):
    """Causal attention and a perceptron, each behind a layer norm and with a residual connection."""

    def __init__(self):
        super().__init__()
        self.before_attention, self.before_perceptron = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key_value, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x):
        batch, time, _ = x.shape
        parts = self.query_key_value(self.before_attention(x)).split(WIDTH, 2)
        heads = (part.view(batch, time, HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts)
        rate = DROPOUT if self.training else 0.0
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True, dropout_p=rate)
        x = x + self.dropout(self.output(mixed.transpose(1, 2).reshape(batch, time, WIDTH)))
        return x + self.dropout(self.down(F.gelu(self.up(self.before_perceptron(x)))))


class Gpt(nn.Module):
    """Tokens to logits of the tokens that follow them; one table serves both ends."""

    def __init__(self):
        super().__init__()
        self.table, self.places = nn.Embedding(CHARACTERS, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CHARACTERS, bias=False)
        nn.init.normal_(self.table.weight, std=0.1)
        nn.init.normal_(self.places.weight, std=0.1)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.table(tokens) + self.places(places))))


def main():
    torch.manual_seed(1)
    # Exported for training: nothing is folded, merged or untied. The size of the batch is the
    # recipe's.
    program = torch.onnx.export(
        Gpt().train(),
        (torch.zeros(2, CONTEXT, dtype=torch.long),),
        input_names=["tokens"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        optimize=False,
    )
    # Which lines of Python every node comes from, a third of the file.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(pathlib.Path(__file__).parent / "imported.onnx", external_data=False)


if __name__ == "__main__":
    main()
