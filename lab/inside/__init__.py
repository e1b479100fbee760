"""What runs inside the containers of the Docker lab: `python -m lab.inside ROLE …`.

There are two ways to the Docker lab. compose.yaml starts one container for each role:

    plan ─► server (a few of each arm) ─► client (one a trial, of each arm) ─► report
       └──► host (in the host's namespace, for as long as the experiment takes)

They share one volume, and meet in it: `plan` checks the settings and makes the experiment's
directory; every client takes a number and waits until its turn has come (`turns`); `report` copies
the experiment to the user's folder, says the verdict, and sends the servers home.

`lab run --testbed docker` makes the containers of one trial at a time through the engine's API, and
tells each what to do (`orders`): `look` at the sysctls, serve as `memcached`, `watch` a namespace,
`load` the servers, `wait` for a moment of the run.
"""
