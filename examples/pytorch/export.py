"""Writes digits.onnx: a small convolutional network for 8x8 digits, as PyTorch exports it.

    pip install torch onnx onnxscript
    python export.py
"""

import pathlib

import torch
from torch import nn

torch.manual_seed(1)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(128, 10),
)
# Exported for training: nothing is folded, merged or untied. The size of the batch is the recipe's.
program = torch.onnx.export(
    model.train(),
    (torch.zeros(2, 1, 8, 8),),
    input_names=["image"],
    output_names=["logits"],
    dynamic_shapes=({0: torch.export.Dim("batch")},),
    dynamo=True,
    optimize=False,
)
# Which lines of Python every node comes from, a quarter of the file.
for node in program.model.graph.all_nodes():
    node.metadata_props.clear()
program.save(pathlib.Path(__file__).parent / "digits.onnx", external_data=False)
