"""Builds the wheel: the library by cargo, its Python side by UniFFI, zipped. Needs nothing but Rust.

UNSPOKEN_PROFILE chooses cargo's profile (dist), UNSPOKEN_FEATURES its features ("--no-default-features" too),
UNSPOKEN_LIBRARY a library that is built already, with UNSPOKEN_BINDINGS the folder of its `unspoken.py`.
"""

import base64
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def _library_name():
    return {"darwin": "libunspoken_uniffi.dylib", "win32": "unspoken_uniffi.dll"}.get(
        sys.platform, "libunspoken_uniffi.so"
    )


def _build():
    """The library and the generated module."""
    given = os.environ.get("UNSPOKEN_LIBRARY"), os.environ.get("UNSPOKEN_BINDINGS")
    if all(given):
        return Path(given[0]), Path(given[1], "unspoken.py").read_text()
    profile = os.environ.get("UNSPOKEN_PROFILE", "dist")
    cargo = os.environ.get("CARGO", "cargo")
    features = shlex.split(os.environ.get("UNSPOKEN_FEATURES", ""))
    subprocess.run([cargo, "build", "--profile", profile, "--package", "unspoken-uniffi", *features], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    library = target / {"dev": "debug"}.get(profile, profile) / _library_name()
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [cargo, "run", "--quiet", "--package", "unspoken-bindgen", "--", "generate", "--no-format"]
            + ["--language", "python", "--out-dir", out, str(library)],
            cwd=ROOT,
            check=True,
        )
        return library, Path(out, "unspoken.py").read_text()


def _stripped(library):
    """The library without the symbols that UniFFI read; as it is where there is no strip."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, library.name)
        shutil.copyfile(library, copy)
        if shutil.which("strip") and sys.platform != "win32":
            subprocess.run(["strip", "-x" if sys.platform == "darwin" else "--strip-unneeded", str(copy)], check=True)
        return copy.read_bytes()


def _tag():
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"py3-none-{platform}"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    library, native = _build()
    info = f"{name}-{version}.dist-info"
    files = {f"{name}/{p.name}": p.read_bytes() for p in sorted((HERE / name).iterdir()) if p.is_file()}
    files[f"{name}/_native.py"] = native.encode()
    files[f"{name}/{_library_name()}"] = _stripped(library)
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {project['description']}\n"
        f"License: {project['license']['text']}\nRequires-Python: {project['requires-python']}\n"
        f"Description-Content-Type: text/markdown\n\n{(HERE / 'README.md').read_text()}"
    ).encode()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: unspoken\nRoot-Is-Purelib: false\nTag: {_tag()}\n"
    ).encode()
    for licence in ("LICENSE-MIT", "LICENSE-APACHE"):
        files[f"{info}/{licence}"] = (ROOT / licence).read_bytes()
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    wheel = f"{name}-{version}-{_tag()}.whl"
    with zipfile.ZipFile(Path(wheel_directory, wheel), "w", zipfile.ZIP_DEFLATED) as out:
        for path, data in files.items():
            out.writestr(path, data)
    return wheel


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("the library is built from the whole repository; make a wheel")
