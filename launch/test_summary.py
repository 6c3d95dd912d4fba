#!/usr/bin/env python3
"""Prints the end of launch/test.sh: a table of the parts, failed tests, skipped tests with reasons, and the sums.

usage: test_summary.py FOLDER

FOLDER holds parts.tsv (name, kind, state, seconds, remark) and, for parts of kind `tests`, NAME.xml (spaces as '-'):
CTest's JUnit file. Exit status 1 when a part or a test failed.
"""
import collections
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree


def skip_reason(case):
    """What GoogleTest printed after `Skipped`, else the last line of the output, else CTest's word."""
    output = (case.findtext("system-out") or "").strip()
    told = re.search(r": Skipped\n(.+)", output) or re.search(r"([^\n]+)\Z", output)
    skipped = case.find("skipped")
    return told[1].strip() if told else (skipped.get("message") if skipped is not None else "no reason given")


def outcome(case):
    """passed, failed or skipped. A test that CTest could not start is a failed one."""
    skipped = case.find("skipped")
    if case.get("status") == "disabled" or (skipped is not None and skipped.get("message", "").startswith("SKIP_")):
        return "skipped"
    return "passed" if case.get("status") == "run" else "failed"


def skips_inside(case):
    """Reasons of tests that a test program (GoogleTest, unittest) skipped by itself, each with its test."""
    output = case.findtext("system-out") or ""
    found = re.findall(r": Skipped\n(.+)\n(?:.*\n)??\[  SKIPPED \] (\S+)", output)
    found += [(reason, test) for test, reason in re.findall(r"(?m)^(\w+) \(.*\).* \.\.\. skipped ['\"](.+)['\"]$", output)]
    return found


class Sums:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.skips = collections.defaultdict(list)  # (part, reason) -> tests

    def add_tests(self, part, path):
        """Returns the counts by status and a remark for the table."""
        count = collections.Counter()
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            status = outcome(case)
            count[status] += 1
            if status == "failed":
                self.failures.append(f"{part}: {case.get('name')}")
            elif status == "skipped":
                self.skips[part, skip_reason(case)].append(case.get("name"))
            else:
                for reason, test in skips_inside(case):
                    count["skipped"] += 1
                    self.skips[part, reason].append(f"{case.get('name')}/{test}")
        self.passed += count["passed"]
        self.failed += count["failed"]
        self.skipped += count["skipped"]
        return count, f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"


def main(folder):
    folder, sums, rows = pathlib.Path(folder), Sums(), []
    for line in (folder / "parts.tsv").read_text().splitlines():
        name, kind, state, seconds, remark = line.split("\t")
        report = folder / f"{name.replace(' ', '-')}.xml"
        failed_tests = 0
        if kind == "tests" and report.exists():
            count, told = sums.add_tests(name, report)
            failed_tests = count["failed"]
            remark = told if not remark or failed_tests else f"{told}; {remark}"
        elif kind == "check" and state == "ok":
            sums.passed += 1
        if state == "failed" and not failed_tests:  # a step, a check, or tests that could not run
            sums.failed += 1
            sums.failures.append(f"{name}: {remark}")
        if state == "left out":
            sums.skipped += 1
            sums.skips[name, remark].append("all of it")
        rows.append((name, state, f"{float(seconds):.1f} s", remark))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    print()
    for name, state, seconds, remark in rows:
        print(f"{name:<{widths[0]}}  {state:<{widths[1]}}  {seconds:>{widths[2]}}  {remark}".rstrip())
    print(f"{'in all':<{widths[0]}}  {'':<{widths[1]}}  {sum(float(row[2][:-2]) for row in rows):.1f} s")
    for (part, reason), names in sums.skips.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"skipped in {part}: {names[0]}{more}: {reason}")
    for failure in sums.failures:
        print(f"FAILED {failure}")
    print(f"\n{sums.passed} passed, {sums.failed} failed, {sums.skipped} skipped")
    sys.exit(1 if sums.failed else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
