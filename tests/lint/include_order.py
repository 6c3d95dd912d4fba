#!/usr/bin/env python3
"""Checks who includes whom (DESIGN: base <- dist, data <- trainer/model, trainer/optim <- trainer/eval <- trainer <- launch).

usage: include_order.py [ROOT]      exit status 1 and one line a fault

* A folder includes only the folders that its line in MAY_INCLUDE names; no cycle between files.
* A library with one home (mpi.h, hdf5.h, …) is included there only.
* Headers of base/, dist/ and data/ include <ATen/core/Tensor.h> of libtorch and nothing else of it; none of their
  files includes <torch/torch.h>: that costs 20 seconds a file.
"""
import pathlib
import re
import sys

BELOW_TRAINER = {"base", "dist", "data"}
TRAINER_PARTS = {"trainer/model", "trainer/optim", "trainer/eval"}
MAY_INCLUDE = {
    "base": set(),
    "dist": {"base"},
    "data": {"base"},
    "trainer/model": BELOW_TRAINER,
    "trainer/optim": {"base", "dist"},
    "trainer/eval": BELOW_TRAINER | {"trainer/model"},
    "trainer": BELOW_TRAINER | TRAINER_PARTS,
    "launch": BELOW_TRAINER | TRAINER_PARTS | {"trainer"},
}
# Folders outside this table (tests, bench) may include all of it.
LEAVES = ("tests", "bench")

# An included system header that matches the first may stand in a file that matches the second only.
HOMES = [
    (r"mpi\.h|nccl\.h", r"(tests/)?dist/.*"),
    (r"hdf5.*|H5.*\.h", r"data/h5_file(_handle|_writer)?\..*"),
    (r"yaml-cpp/.*", r"data/config_file\.cpp"),
    (r"zlib\.h", r"data/gz_file\.cpp|tests/data/task_data_test\.cpp"),
    (r"curl/.*", r"data/chat_client\..*"),
]
TORCH = re.compile(r"(torch|ATen|c10)/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = {".h", ".cpp", ".cu", ".cuh"}


def folder_of(path):
    """The table's line a file belongs to: the longest matching folder, or its first folder."""
    parents = [parent.as_posix() for parent in pathlib.PurePosixPath(path).parents]
    return next((folder for folder in parents if folder in MAY_INCLUDE), path.split("/")[0])


def source_files(root):
    folders = sorted({folder.split("/")[0] for folder in MAY_INCLUDE} | set(LEAVES))
    return [path for folder in folders for path in sorted((root / folder).rglob("*")) if path.suffix in SOURCES]


def own_include_fault(path, included, known):
    if included not in known:
        return "is no file of the project (write its path from the root)"
    user, used = folder_of(path), folder_of(included)
    if user in LEAVES:
        return None if used not in LEAVES or user == used else f"{user}/ may not include {used}/"
    if used == user or used in MAY_INCLUDE[user]:
        return None
    return f"{user}/ may include {', '.join(sorted(MAY_INCLUDE[user])) or 'nothing'} only"


def system_include_fault(path, included):
    for header, home in HOMES:
        if re.fullmatch(header, included) and not re.fullmatch(home, path):
            return f"may stand in {home} only"
    if folder_of(path) in BELOW_TRAINER and TORCH.match(included):
        if included == "torch/torch.h":
            return "is too dear here: include the narrow header"
        if path.endswith(".h") and included != "ATen/core/Tensor.h":
            return "may not stand in a header here: <ATen/core/Tensor.h> at most"
    return None


def cycles(graph):
    """One list of files for each back edge that a depth-first walk meets."""
    found, done = [], set()

    def visit(path, trail):
        if path in trail:
            found.append(trail[trail.index(path):] + [path])
        elif path not in done:
            for included in graph.get(path, ()):
                visit(included, trail + [path])
            done.add(path)

    for path in graph:
        visit(path, [])
    return found


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    files = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in source_files(root)}
    faults, graph = [], {}
    for path, text in files.items():
        for match in INCLUDE.finditer(text):
            own, included = match[1] == '"', match[2]
            if own:
                fault = own_include_fault(path, included, files)
                graph.setdefault(path, []).append(included)
            else:
                fault = system_include_fault(path, included)
            if fault:
                faults.append(f"{path}:{text.count(chr(10), 0, match.start(2)) + 1}: {match[1]}{included}: {fault}")
    faults += ["cycle: " + " -> ".join(cycle) for cycle in cycles(graph)]
    print(*faults, f"include_order.py: {len(files)} files, {len(faults)} faults", sep="\n")
    sys.exit(1 if faults or not files else 0)


if __name__ == "__main__":
    main()
