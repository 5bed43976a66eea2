"""Cycles of the innermost loops on ARM, as llvm-mca's models of processors have them, for no machine of the kind was at hand.

    cargo build --release --target aarch64-unknown-linux-gnu --package unspoken-kernels
    python3 benches/arm_loops.py target/aarch64-unknown-linux-gnu/release/libunspoken_kernels.rlib

Needs aarch64-linux-gnu-objdump and llvm-mca (LLVM_MCA names another). A model knows neither memory nor caches.
"""

import os
import re
import subprocess
import sys
import tempfile

PROCESSORS = ["cortex-a55", "cortex-a76", "neoverse-n2", "neoverse-v1", "neoverse-v2", "apple-m1"]
# Those that multiply small matrices.
MATRICES = ["neoverse-n2", "neoverse-v1", "neoverse-v2"]
BRANCH = re.compile(r"^(b|b\.\w+|cbn?z|tbn?z|bl|ret)\s")


def functions(library):
    """(name, [(address, instruction)]) of all functions."""
    out = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", library], capture_output=True, text=True, check=True
    ).stdout
    name, body = None, []
    for line in out.splitlines():
        if found := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            if name:
                yield name, body
            name, body = found[1], []
        elif found := re.match(r"^\s+([0-9a-f]+):\t(.*)$", line):
            body.append((int(found[1], 16), found[2].split("//")[0].split("<")[0].strip()))
    yield name, body


def loops(body):
    """What lies between a branch and where it goes back to."""
    for address, text in body:
        if BRANCH.match(text) and (to := re.search(r"\b([0-9a-f]+)$", text)) and int(to[1], 16) < address:
            yield [t for a, t in body if int(to[1], 16) <= a <= address]


def count(instructions, name):
    return sum(t.split()[0] == name for t in instructions)


def straight(body):
    """From the first load before the first product to the last sum: the rows and groups of one turn."""
    texts = [t for _, t in body]
    first = next(i for i, t in enumerate(texts) if t.startswith("sdot"))
    last = max(i for i, t in enumerate(texts) if t.startswith("fmla") and "s[3]" in t)
    start = max(i for i in range(first) if BRANCH.match(texts[i])) + 1
    return texts[start : last + 1]


def cycles(instructions, processor):
    text = "\n".join(t for t in instructions if not BRANCH.match(t))
    with tempfile.NamedTemporaryFile("w", suffix=".s") as file:
        file.write(text)
        file.flush()
        mca = [os.environ.get("LLVM_MCA", "llvm-mca"), "--mtriple=aarch64", "--iterations=200", f"--mcpu={processor}"]
        done = subprocess.run([*mca, "-mattr=+dotprod,+i8mm", file.name], stdout=subprocess.PIPE, text=True, check=True)
    return int(re.search(r"Total Cycles:\s+(\d+)", done.stdout)[1]) / 200


def main():
    several, panel, one = [], [], []
    for name, body in functions(sys.argv[1]):
        if "smmla" in name and "quad_product" in name:
            several += [b for b in loops(body) if count(b, "smmla") == 96 and count(b, "fmla") == 8]
        elif "plain_panel" in name:
            panel += [b for b in loops(body) if count(b, "fmla") == 24 and len(b) < 50]
        elif "sdot" in name and "products" in name and count([t for _, t in body], "sdot") == 96:
            one.append(straight(body))
    # Of one token's, that of nibbles with a scale for 32: sixteen vectors of them, and no tables.
    nibbles = [t for t in one if count(t, "and") == 16 and not count(t, "tbl")]
    if not (nibbles and several and panel):
        sys.exit("a loop has another form than this script looks for: was the library built for speed?")
    # Products: rows times tokens times depth.
    rows = [
        ("one token, sdot: four rows of nibbles, 128 deep", min(nibbles, key=len), 4 * 128),
        ("eight tokens, smmla: four rows, 32 deep", min(several, key=len), 4 * 8 * 32),
        ("floats: six tokens, sixteen rows, one deep", min(panel, key=len), 6 * 16),
    ]
    print("products a cycle |", " | ".join(PROCESSORS))
    for name, loop, products in rows:
        there = [p for p in PROCESSORS if p in MATRICES or not count(loop, "smmla")]
        found = [cycles(loop, p) if p in there else None for p in PROCESSORS]
        print(name, "|", " | ".join(f"{products / c:.1f}" if c else "-" for c in found))


main()
