"""Training steps of one of the models of models.rs under PyTorch, as a line of JSON.

    python3 pytorch.py digits|mlp|resnet|gpt THREADS SECONDS

`lockstep bench train` runs it beside its own steps: float32, random records of the same shapes, the
same architecture, batch and optimizer.
"""

import json
import sys
import time
from statistics import median

import torch
from torch import nn
from torch.nn import functional


def peak_kib():
    """The most memory that the process has held; None where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except OSError:
        return None


def build(name):
    """The model, its optimizer, and a function that draws a batch and gives its loss."""

    def images(shape, model):
        data = torch.rand(512, *shape)
        labels = torch.randint(10, (512,))

        def loss(batch):
            rows = torch.randint(512, (batch,))
            return functional.cross_entropy(model(data[rows]), labels[rows])

        return loss

    def sgd(model):
        return torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def adamw(model):
        return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

    def perceptron(widths):
        layers = []
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    class ConvNorm(nn.Sequential):
        def __init__(self, inputs, outputs, kernel, stride):
            conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
            super().__init__(conv, nn.BatchNorm2d(outputs))

    class Residual(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.a = ConvNorm(inputs, outputs, 3, stride)
            self.b = ConvNorm(outputs, outputs, 3, 1)
            self.c = ConvNorm(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

        def forward(self, x):
            y = self.b(functional.relu(self.a(x)))
            return functional.relu(y + self.c(x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = ConvNorm(3, 16, 3, 1)
            blocks, inputs = [], 16
            for stage, channels in enumerate([16, 32, 64]):
                for block in range(2):
                    stride = 2 if stage > 0 and block == 0 else 1
                    blocks.append(Residual(inputs, channels, stride))
                    inputs = channels
            self.blocks = nn.Sequential(*blocks)
            self.output = nn.Linear(64, 10)

        def forward(self, x):
            x = self.blocks(functional.relu(self.stem(x)))
            return self.output(x.mean((2, 3)))

    class Block(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.a, self.b = nn.LayerNorm(width), nn.LayerNorm(width)
            self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            y = self.a(x)
            batch, time, width = y.shape
            q, k, v = (
                part(y).view(batch, time, self.heads, -1).transpose(1, 2)
                for part in (self.query, self.key, self.value)
            )
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.mix(y.transpose(1, 2).reshape(batch, time, width))
            return x + self.down(functional.gelu(self.up(self.b(x))))

    class Gpt(nn.Module):
        def __init__(self, time=128, width=256, characters=256):
            super().__init__()
            self.tokens = nn.Embedding(characters, width)
            self.positions = nn.Parameter(torch.rand(time, width))
            self.blocks = nn.Sequential(*(Block(width, 8) for _ in range(4)))
            self.last, self.output = nn.LayerNorm(width), nn.Linear(width, characters)

        def forward(self, tokens):
            x = self.tokens(tokens) + self.positions
            return self.output(self.last(self.blocks(x)))

    if name == "digits":
        model = perceptron([64, 128, 64, 10])
        loss = images((64,), model)
        return model, adamw(model), lambda: loss(64)
    if name == "mlp":
        model = perceptron([784, 1024, 1024, 10])
        loss = images((784,), model)
        return model, sgd(model), lambda: loss(128)
    if name == "resnet":
        model = ResNet()
        loss = images((3, 32, 32), model)
        return model, sgd(model), lambda: loss(32)
    model = Gpt()
    texts = torch.randint(256, (512, 129))

    def text_loss():
        rows = texts[torch.randint(512, (8,))]
        logits = model(rows[:, :-1])
        return functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())

    return model, adamw(model), text_loss


def main(name, threads, seconds):
    """Trains, and prints what it took."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    before = peak_kib()
    _, optimizer, loss = build(name)

    def step():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    for _ in range(3):
        step()
    began, used, times = time.perf_counter(), time.process_time(), []
    while time.perf_counter() - began < seconds or len(times) < 3:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    used = time.process_time() - used
    row = {
        "steps": len(times),
        "wall_ms": median(times) * 1e3,
        "best_ms": min(times) * 1e3,
        "cpu_ms": used / len(times) * 1e3,
        "peak_kib": peak_kib(),
        "before_kib": before,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
