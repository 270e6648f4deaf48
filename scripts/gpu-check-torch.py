"""What PyTorch and cuBLAS do on this GPU with what `gpu-check` measures, as a table and as JSON.

    gpu-check-torch.py FILE
"""

import json
import statistics
import sys
import time

import torch

# Steps that are measured together, as in gpu-check.
TOGETHER = 10


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


def products():
    """Products of square matrices of f32, without TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    print("| n | cuBLAS TFLOP/s | ms |\n|---|---|---|")
    rows = []
    for n in [1024, 2048, 4096, 8192]:
        a, b = (torch.randn(n, n, device="cuda") for _ in range(2))
        c = torch.empty(n, n, device="cuda")
        took = seconds(lambda: torch.mm(a, b, out=c))
        tera = 2 * n**3 / took / 1e12
        print(f"| {n} | {tera:.2f} | {took * 1e3:.3f} |")
        rows.append({"n": n, "seconds": took, "tflops": tera})
    return rows


def main():
    """Measures and writes the file."""
    name = torch.cuda.get_device_name()
    print(f"PyTorch {torch.__version__} on {name}\n")
    report = {"device": name, "torch": torch.__version__, "sgemm": products()}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
