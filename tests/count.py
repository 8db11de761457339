"""Counts a JUnit file: prints "passed failed skipped"; writes the names of failed and skipped tests to a second
file."""

import sys
import xml.etree.ElementTree as xml


def count(path: str) -> tuple[int, int, int, list[str]]:
    passed = failed = skipped = 0
    lines = []
    for case in xml.parse(path).iter("testcase"):
        name = ": ".join(filter(None, (case.get("classname"), case.get("name"))))
        if case.get("classname") == case.get("name"):
            name = case.get("name")
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        skip = case.find("skipped")
        if problem is not None or case.get("status") == "fail":
            failed += 1
            lines.append(f"FAILED: {name}")
        elif skip is not None or case.get("status") in ("notrun", "disabled"):
            skipped += 1
            lines.append(f"skipped: {name}: {(skip.get('message') if skip is not None else None) or 'disabled'}")
        else:
            passed += 1
    return passed, failed, skipped, lines


if __name__ == "__main__":
    passed, failed, skipped, lines = count(sys.argv[1])
    with open(sys.argv[2], "w") as out:
        out.writelines(line.replace("\n", " ") + "\n" for line in lines)
    print(passed, failed, skipped)
