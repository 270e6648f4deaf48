"""What PyTorch and cuBLAS do on this GPU with what `gpu-check` measures, as tables and as JSON.

    gpu-check-torch.py FILE
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

# Steps that are measured together, as in gpu-check.
TOGETHER = 10

# Rows, columns and steps, as in gpu-check.
SIZES = [
    (2048, 2048, 2048),
    (4096, 4096, 4096),
    (8192, 8192, 8192),
    (4096, 3072, 768),
    (4096, 768, 3072),
    (768, 3072, 4096),
]

# GPT-2 small as in gpu-check: layers, width, heads, tokens, texts, vocabulary.
LAYERS, WIDTH, HEADS, TIME, BATCH, CHARACTERS = 12, 768, 12, 1024, 4, 50304


def seconds(run):
    """The middle of several times of one run."""
    for _ in range(3):
        run()
    times = []
    for _ in range(7):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(TOGETHER):
            run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / TOGETHER)
    return statistics.median(times)


def operands(rows, columns, steps, transposed, make):
    """Two matrices to multiply, each stored as it is or transposed."""
    x = make(steps, rows).t() if transposed[0] else make(rows, steps)
    y = make(columns, steps).t() if transposed[1] else make(steps, columns)
    return x, y


def products():
    """Products of f32 without TF32, and of 8-bit integers to 32 bits."""
    print("| numbers | product | rows x columns x steps | cuBLAS, 10^12 a second | ms |")
    print("|---|---|---|--:|--:|")
    floats = lambda *shape: torch.randn(*shape, device="cuda")
    bytes_ = lambda *shape: torch.randint(-128, 128, shape, device="cuda", dtype=torch.int8)
    rows = []
    for dtype, make, multiply in [("float32", floats, torch.mm), ("int8", bytes_, torch._int_mm)]:
        for name, transposed in [
            ("x w", (False, False)),
            ("g w^T", (False, True)),
            ("x^T g", (True, False)),
        ]:
            for size in SIZES:
                x, y = operands(*size, transposed, make)
                try:
                    took = seconds(lambda: multiply(x, y))
                except RuntimeError as error:
                    # cuBLAS has integer products for some layouts alone.
                    print(f"| {dtype} | {name} | {size} | {str(error).splitlines()[0]} | |")
                    continue
                m, n, k = size
                tera = 2 * m * n * k / took / 1e12
                print(f"| {dtype} | {name} | {m} x {n} x {k} | {tera:.2f} | {took * 1e3:.3f} |")
                rows.append({"dtype": dtype, "product": name, "extents": size, "seconds": took,
                             "tera": tera})
    return rows


class Layer(nn.Module):
    """One layer of GPT-2."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.mix = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        y = self.a(x)
        q, k, v = (
            part(y).view(BATCH, TIME, HEADS, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(y.transpose(1, 2).reshape(BATCH, TIME, WIDTH))
        return x + self.down(functional.gelu(self.up(self.b(x))))


class Gpt(nn.Module):
    """GPT-2 small with an output layer of its own."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(CHARACTERS, WIDTH)
        self.positions = nn.Parameter(torch.rand(TIME, WIDTH))
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)))
        self.last, self.output = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CHARACTERS)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions
        return self.output(self.last(self.layers(x)))


def gpt2():
    """Training steps in f32, and in bf16 compiled."""
    print("\n| GPT-2 small, 4 x 1024 tokens | ms a step |\n|---|--:|")
    rows = []
    for name, half in [("float32, TF32 off", False), ("bf16, torch.compile", True)]:
        torch.manual_seed(1)
        model = Gpt().cuda()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
        texts = torch.randint(CHARACTERS, (BATCH, TIME + 1), device="cuda")
        forward = torch.compile(model) if half else model

        def step():
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.bfloat16, enabled=half):
                logits = forward(texts[:, :-1])
                loss = functional.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten())
            loss.backward()
            optimizer.step()

        took = seconds(step)
        print(f"| {name} | {took * 1e3:.2f} |")
        rows.append({"name": name, "seconds": took})
        del model, optimizer, forward
        torch.cuda.empty_cache()
    return rows


def main():
    """Measures and writes the file."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    name = torch.cuda.get_device_name()
    print(f"PyTorch {torch.__version__} on {name}\n")
    report = {
        "device": name,
        "torch": torch.__version__,
        "products": products(),
        "gpt2": gpt2(),
    }
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
