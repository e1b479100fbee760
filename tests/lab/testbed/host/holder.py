"""Has a tuning's lines in force on a host until it is ended: the lab, as the tests of its endings see it.

    holder.py FOLDER ROOT TUNING

Says `in force` once they are. A line on standard input makes the body fail.
"""

import sys
from pathlib import Path

from lab.sysctl.tuning import parse
from lab.testbed.host.journal import JournalPlace
from lab.testbed.host.settings import HostSettings


def main(folder: str, root: str, text: str) -> None:
    tuning = parse(text, name="mine", source="./mine.conf")
    place = JournalPlace(Path(folder), Path(root))
    with HostSettings(place) as host, host.changed(tuning, "after"):
        print("in force", flush=True)
        sys.stdin.readline()
        raise RuntimeError("the body failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
