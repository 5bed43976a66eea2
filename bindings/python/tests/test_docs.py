"""Runs the snippets of docs/python.md: test_docs.py MODEL DOCS"""

import os
import re
import sys
import tempfile
from pathlib import Path

model, docs = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).read_text()
snippets = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
assert snippets
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    os.symlink(model, "model.gguf")
    for i, snippet in enumerate(snippets):
        exec(compile(snippet, f"docs/python.md, snippet {i + 1}", "exec"), {"__name__": "__main__"})
    os.chdir("/")
print(f"docs/python.md: {len(snippets)} snippets ran")
