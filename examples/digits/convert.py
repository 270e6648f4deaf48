#!/usr/bin/env python3
"""Writes train.bin and test.bin from scikit-learn's copy of the UCI optical digits.

    pip install scikit-learn && ./convert.py
    ./convert.py path/to/digits.csv.gz

A record is 65 bytes: 64 pixels, row by row, each 0 to 16, then the label, 0 to 9. Records are
ordered by the SHA-256 of their decimal line number, counted from 0, so that every machine splits
the data alike; the last 360 are the held-out test set.
"""

import gzip
import hashlib
import importlib.util
import pathlib
import sys

SOURCE_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
TEST_RECORDS = 360


def source():
    if len(sys.argv) > 1:
        return pathlib.Path(sys.argv[1])
    package = importlib.util.find_spec("sklearn")
    if package is None:
        sys.exit("scikit-learn is not installed: name its digits.csv.gz as the argument")
    return pathlib.Path(package.origin).parent / "datasets/data/digits.csv.gz"


def main():
    packed = source().read_bytes()
    if hashlib.sha256(packed).hexdigest() != SOURCE_SHA256:
        sys.exit(f"{source()} is not the file that this script was written for")
    lines = gzip.decompress(packed).decode("ascii").split()
    records = [bytes(int(field) for field in line.split(",")) for line in lines]
    for record in records:
        assert len(record) == 65 and max(record[:64]) <= 16 and record[64] <= 9
    order = sorted(range(len(records)), key=lambda i: hashlib.sha256(b"%d" % i).digest())
    shuffled = [records[i] for i in order]
    folder = pathlib.Path(__file__).parent
    (folder / "train.bin").write_bytes(b"".join(shuffled[:-TEST_RECORDS]))
    (folder / "test.bin").write_bytes(b"".join(shuffled[-TEST_RECORDS:]))


if __name__ == "__main__":
    main()
