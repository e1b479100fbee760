"""Holds a site with load on it until it is ended: the lab, as the tests of its endings see it.

    holder.py LOG

Says the server's process ids as one line of JSON. A line on standard input makes the body of the
site fail.
"""

import json
import sys
from pathlib import Path

import trio

from lab.testbed.base import SitePlan
from lab.testbed.netns import NetnsSite, NetnsTestbed

STAND_IN = Path(__file__).with_name("stand_in.py")


async def main(log: Path) -> None:
    testbed = NetnsTestbed([sys.executable, "-I", str(STAND_IN), "--forever"])
    async with testbed.site(SitePlan(servers=2)) as site, trio.open_nursery() as nursery:
        assert isinstance(site, NetnsSite)
        print(json.dumps(site.servers), flush=True)
        nursery.start_soon(site.loadgen, site.targets, log)
        await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        raise RuntimeError("the body of the site failed")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
