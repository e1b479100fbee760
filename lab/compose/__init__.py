"""The lab that `docker compose up` runs: `python -m lab.compose ROLE …` in each container.

compose.yaml starts one container for each role:

    plan ─► server (a few of each arm) ─► client (one a trial, of each arm) ─► report
       └──► host (in the host's namespace, for as long as the experiment takes)

They share one volume, and meet in it: `plan` checks the settings and makes the experiment's
directory; every client takes a number and waits until its turn has come (`turns`); `report` copies
the experiment to the user's folder, says the verdict, and shuts the servers down.
"""
