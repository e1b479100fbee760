"""Another kernel for a verb of lab: a small virtual machine whose disk is this machine's own.

    names     what `--kernel` may be, and the packages of a release             (pure)
    image     the release that a kernel image says it is                        (pure)
    script    what the guest does                                               (pure)
    sharing   which directories the guest may write, so that results come back
    archive   kernels of the distribution, through its own package tool
    cache     kernels unpacked, under the user's cache directory
    machine   starts the guest, watches it, ends it

The guest is virtme-ng's: QEMU, this machine's root directory read-only, and what the verb writes to
read-write. What runs in it is this very installation of lab.
"""
