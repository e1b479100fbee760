"""The article on conntrack's settings: names, scopes, sizes."""

from __future__ import annotations

from lab.claims.claim import BeyondTest, Claim
from lab.claims.expected import (
    TABLE_GREW,
    eightfold_raises,
    four_to_one,
    sizes_of_the_article,
)
from lab.claims.findings import Conntrack
from lab.claims.records import Verdict

ARTICLES_MAX, ARTICLES_HASH = 524_288, 131_072


def old_max_exists(found: Conntrack) -> Verdict:
    """Decide by the file."""
    return "confirmed" if found.old_max_exists else "refuted"


def old_buckets_exist(found: Conntrack) -> Verdict:
    """Decide by the file."""
    return "confirmed" if found.old_buckets_exists else "refuted"


def has_old_sizes(found: Conntrack) -> Verdict:
    """Decide by both values."""
    return "confirmed" if (found.entries, found.buckets) == (65_536, 16_384) else "refuted"


def is_four_to_one(found: Conntrack) -> Verdict:
    """Decide by the ratio in force."""
    return "confirmed" if found.entries == 4 * found.buckets else "refuted"


def raises_both(found: Conntrack) -> Verdict:
    """Decide by whether the article's sizes are above those in force."""
    if found.buckets > ARTICLES_HASH or found.entries > ARTICLES_MAX:
        return "refuted"
    return "confirmed"


def settable_anywhere(found: Conntrack) -> Verdict:
    """Decide by which keys a namespace of its own may set."""
    sizes = ("net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets")
    free = [key for key in sizes if key in found.settable_in_namespace]
    return "confirmed" if len(free) == len(sizes) else "conditional"


_SIZES = "We can safely augment those by a factor of 8:"

ENTRIES = (
    Claim(
        name="conntrack-max-name",
        says="the limit is net.ipv4.netfilter.ip_conntrack_max",
        quote="# echo 524288 > /proc/sys/net/ipv4/netfilter/ip_conntrack_max",
        row=14,
        finding=Conntrack,
        metric="whether the file exists",
        expected="it does",
        figure=lambda found: "exists" if found.old_max_exists else "does not exist",
        rule=old_max_exists,
        readings={
            "confirmed": "this kernel still has the old name",
            "refuted": "the whole directory is gone since 4.9: the line fails, or is passed over in "
            "silence by sysctl -e",
        },
        paper="refuted",
        instead="today's name is net.netfilter.nf_conntrack_max",
        sources=("commit adf0516845bc",),
    ),
    Claim(
        name="conntrack-buckets-name",
        says="net.ipv4.netfilter.ip_conntrack_buckets in sysctl.conf sets the hash size",
        quote="net.ipv4.netfilter.ip_conntrack_buckets = 131072",
        row=15,
        finding=Conntrack,
        metric="whether the file exists",
        expected="it does, and is writable",
        figure=lambda found: "exists" if found.old_buckets_exists else "does not exist",
        rule=old_buckets_exist,
        readings={
            "confirmed": "this kernel still has the old name",
            "refuted": "it is gone, and was read-only in every kernel that had it: this line never "
            "did anything",
        },
        paper="refuted",
        instead="today: net.netfilter.nf_conntrack_buckets, writable since about 4.8",
        sources=("commit 3183ab8997a4",),
    ),
    Claim(
        name="conntrack-sizes-anywhere",
        says="anyone who needs a larger table can set it",
        quote="Or, to make them permanent, modify /etc/sysctl.conf instead:",
        row=15,
        finding=Conntrack,
        metric="which of today's keys a fresh namespace (a container) may set",
        expected="all",
        figure=lambda found: f"writable: {', '.join(found.settable_in_namespace) or 'none'}",
        rule=settable_anywhere,
        readings={
            "confirmed": "a namespace may set its own sizes",
            "conditional": "sizes belong to the host: a container can set its timers, not its "
            "limit, although its entries are counted by themselves",
        },
        condition="on the host itself, not in a container",
        paper="conditional",
        instead="in a container, shorten nf_conntrack_tcp_timeout_time_wait; set sizes on the host",
    ),
    Claim(
        name="conntrack-default-sizes",
        says="the table has 65,536 entries and 16,384 buckets",
        quote="# cat /sys/module/nf_conntrack/parameters/hashsize\n16384",
        row=16,
        finding=Conntrack,
        metric="nf_conntrack_max and nf_conntrack_buckets in force on this host",
        expected="65536 and 16384",
        figure=lambda found: f"{found.entries} and {found.buckets} ({found.memory:.1f} GiB)",
        rule=has_old_sizes,
        readings={
            "confirmed": "as in the article",
            "refuted": "defaults have grown with kernels and memory (262,144 and 262,144 above 4 "
            "GB since 5.15), or this host is tuned: look before setting anything",
        },
        paper=sizes_of_the_article,
        changes=(TABLE_GREW,),
        sources=("commit d532bcd0b269 (Linux 5.15)",),
    ),
    Claim(
        name="conntrack-ratio-4",
        says="the kernel makes the table four times as large as the hash",
        quote="But to be conservative, the kernel sets those value to (ip_conntrack_max = hashsize "
        "* 4) by default.",
        row=17,
        finding=Conntrack,
        metric="nf_conntrack_max / nf_conntrack_buckets in force on this host",
        expected="4",
        figure=lambda found: f"{found.entries / found.buckets:g}",
        rule=is_four_to_one,
        readings={
            "confirmed": "four to one",
            "refuted": "one to one by default since 5.15, four to one before",
        },
        paper=four_to_one,
        changes=(TABLE_GREW,),
        sources=("commit d532bcd0b269 (Linux 5.15)",),
    ),
    BeyondTest(
        name="entry-in-one-list",
        says="each entry is a node of one list",
        quote="A conntrack entry is stored in a node of a linked list, and there are several lists, "
        "each list being an element in a hash table.",
        row=18,
        reason="the kernel does not show its chains. The documentation says that an entry is in "
        "the table twice, once for each direction",
        sources=("Documentation/networking/nf_conntrack-sysctl.rst, nf_conntrack_buckets",),
    ),
    BeyondTest(
        name="hashsize-at-run-time",
        says="hashsize can be changed at run time",
        quote="# echo 131072 > /sys/module/nf_conntrack/parameters/hashsize",
        row=19,
        reason="it would change the host, which the lab leaves as it is. It works on the host and "
        "leaves nf_conntrack_max as it was",
    ),
    Claim(
        name="conntrack-eightfold",
        says="524,288 entries and 131,072 buckets are more than the host has",
        quote=_SIZES,
        row=21,
        finding=Conntrack,
        metric="the article's sizes against those in force on this host",
        expected="both higher",
        figure=lambda found: (
            f"entries {found.entries:,} to {ARTICLES_MAX:,}, buckets {found.buckets:,} to "
            f"{ARTICLES_HASH:,}"
        ),
        rule=raises_both,
        readings={
            "confirmed": "on this host the lines raise both",
            "refuted": "on this host they would lower at least one of the two; with fewer buckets "
            "every look-up walks a longer chain",
        },
        paper=eightfold_raises,
        changes=(TABLE_GREW,),
        instead="never set a size without reading the present one; `lab tunings show article` "
        "flags it",
    ),
)
