"""Changing the host's own settings, and putting them back whatever happens.

A few sysctls have one value for all namespaces: the size of the conntrack table above all. The lab
leaves them alone unless `--allow-host-sysctls` is given. Then, in this order:

1. The old values go to a journal on disk.
2. A guardian, a process of its own that no signal to the lab reaches, waits for the lab's end.
3. The arm's values are written; at the end of its trial, or after an error, the old ones come back
   and the journal goes.

A lab that was killed leaves a journal, and its guardian, whose pipe from the lab breaks at that
moment, puts the values back. When both were killed, `lab doctor` shows the journal and `lab
restore` does the rest. So does the next lab that wants to change something. A journal of an earlier
boot is void: the kernel started with its own values since.
"""
