"""Which project files a JavaScript or TypeScript file imports."""

from pathlib import Path

from agent_tui.runtimes.imports import Import
from agent_tui.runtimes.node.imports import NodeResolver, imports_of, stem

from .support import write


def found(folder: Path, importer: str, *specifiers: str) -> list[str]:
    resolver = NodeResolver()
    files = [file for each in specifiers for file in resolver.files(Import(each), str(folder / importer), ())]
    return [str(Path(file).relative_to(folder)) for file in files]


def test_every_form_of_import() -> None:
    source = b"""
        import a from './a.js'; import './b'; import type { C } from "./c"; export * from './d.mjs';
        const e = await import('./e.js'), f = require('./f.cjs'), g = new URL("./g.js", import.meta.url);
        import {
          h,
        } from `./h.js`;
        import('./' + name);
    """
    names = [each.module for each in imports_of(source)]
    assert sorted(names) == ["./", "./a.js", "./b", "./c", "./d.mjs", "./e.js", "./f.cjs", "./g.js", "./h.js"]


def test_suffixes_that_stand_for_others(tmp_path: Path) -> None:
    write(
        tmp_path, dict.fromkeys(["a.ts", "b.mts", "c.tsx", "d/index.ts", "e.js", "f.json", "g.test.ts"], "")
    )
    specifiers = ("./a.js", "./b.mjs", "./c", "./d", "./e.js", "./f.json", "./g.test", "./d/index.js")
    assert found(tmp_path, "main.ts", *specifiers) == [
        *("a.ts", "b.mts", "c.tsx", "d/index.ts", "e.js", "f.json", "g.test.ts", "d/index.ts")
    ]


def test_packages_are_not_the_projects(tmp_path: Path) -> None:
    write(tmp_path, {"node_modules/zod/index.js": ""})
    assert found(tmp_path, "main.js", "zod", "node:fs", "./node_modules/zod/index.js", "#inner") == []


def test_paths_of_tsconfig(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "tsconfig.base.json": '{"compilerOptions": {"paths": {"@lib/*": ["./lib/*"], "desk": ["./src/desk.ts"],}}}',
            "src/tsconfig.json": '{ /* as usual */ "extends": "../tsconfig.base" }',
            "lib/far.ts": "",
            "src/desk.ts": "",
        },
    )
    assert found(tmp_path, "src/agent.ts", "@lib/far.js", "desk", "@lib/none") == [
        "lib/far.ts",
        "src/desk.ts",
    ]


def test_what_is_missing_may_appear(tmp_path: Path) -> None:
    resolver = NodeResolver()
    assert list(resolver.files(Import("./sub/later.js"), str(tmp_path / "main.ts"), ())) == []
    assert resolver.missing == {str(tmp_path / "sub/later")}
    assert str(tmp_path / "sub") in resolver.folders
    assert {
        stem(str(tmp_path / each)) for each in ("sub/later.ts", "sub/later/index.mjs")
    } == resolver.missing
