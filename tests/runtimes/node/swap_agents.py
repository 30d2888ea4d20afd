"""The files of tests/agents/js_swap as modules of each kind."""

import re

from ..support import AGENTS

NAMES = ("agent", "prices", "scripted", "late")
KINDS = ("mjs", "cjs", "ts", "commonjs.ts")
"""The last one is TypeScript in a CommonJS package."""


def sources(kind: str) -> dict[str, str]:
    """Return the agent's files as modules of a kind."""
    suffix = kind.rpartition(".")[2]
    files = {}
    for name in NAMES:
        text = (AGENTS / f"js_swap/{name}.mjs").read_text()
        if suffix == "cjs":
            text = text.replace("export default ", "module.exports = ").replace("fileURLToPath(new URL(name, import.meta.url))", "`${__dirname}/${name}`")  # fmt: skip
            text = re.sub(r"import (\{.*?\}|\w+) from ('[^']+');", r"const \1 = require(\2);", text)
            text = text.replace("await import(", "require(")
            text = re.sub(r"export (const|class) (\w+)", r"const \2 = exports.\2 = \1 \2", text)
            text = re.sub(r"= const \w+ =", "=", text)
        if suffix == "ts":
            text = text.replace("(name)", "(name: string)").replace("say(text)", "say(text: string)")
        if kind == "commonjs.ts":
            text = text.replace("fileURLToPath(new URL(name, import.meta.url))", "`${__dirname}/${name}`")
        files[f"{name}.{suffix}"] = text.replace(".mjs'", f".{'js' if suffix == 'ts' else suffix}'")
    return files


def package_type(kind: str) -> str:
    """Return the "type" of the package.json of such a project."""
    return "commonjs" if kind in ("cjs", "commonjs.ts") else "module"
