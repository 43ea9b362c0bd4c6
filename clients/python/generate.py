"""Generates `runsd_client/proto` from `proto/`: `python clients/python/generate.py [--check]`.

protoc names Python modules after the path of the .proto file (`runs.v1`). They live inside the
client package instead, so the imports between them are rewritten.
"""

from __future__ import annotations

import re
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
PACKAGE = HERE / "runsd_client" / "proto"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def generate(into: Path) -> dict[str, str]:
    """The generated modules by file name; `into` is a scratch directory."""
    well_known = resources.files("grpc_tools") / "_proto"
    sources = sorted(str(path) for path in PROTO.glob("runs/v1/*.proto"))
    code = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"-I{well_known}",
            *(f"--plugin={Path(sys.executable).with_name(name)}" for name in PLUGINS),
            f"--python_out={into}",
            f"--grpc_python_out={into}",
            f"--mypy_out={into}",
            f"--mypy_grpc_out={into}",
            *sources,
        ]
    )
    if code != 0:
        sys.exit(code)
    return {
        path.name: inside_the_package(path.read_text())
        for path in sorted(into.glob("runs/v1/*.py*"))
        if path.suffix in {".py", ".pyi"} and has_content(path)
    }


def has_content(path: Path) -> bool:
    """A file without a service gets stubs without content; those are left out."""
    return not re.search(r"run_pb2_grpc\.pyi?$", path.name)


def inside_the_package(code: str) -> str:
    code = re.sub(r"^from runs\.v1 import", "from runsd_client.proto import", code, flags=re.M)
    return re.sub(r"^import runs\.v1\.", "import runsd_client.proto.", code, flags=re.M).replace(
        "runs.v1.run_pb2", "runsd_client.proto.run_pb2"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        fresh = generate(Path(scratch))
    fresh["__init__.py"] = '"""Generated from `proto/` by `clients/python/generate.py`."""\n'
    present = {path.name: path.read_text() for path in PACKAGE.glob("*.py*") if path.is_file()}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))
        if stale:
            sys.exit(f"stale: {', '.join(stale)}; run: python clients/python/generate.py")
        return
    PACKAGE.mkdir(exist_ok=True)
    for name in present.keys() - fresh.keys():
        (PACKAGE / name).unlink()
    for name, code in fresh.items():
        (PACKAGE / name).write_text(code)


if __name__ == "__main__":
    main()
