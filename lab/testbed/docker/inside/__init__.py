"""What runs inside a trial's containers: `python -m lab.testbed.docker.inside ROLE …`.

`lab run --testbed docker` makes the containers of one trial at a time through the engine's API, and
tells each what to do (`lab.testbed.docker.orders`): `look` at the sysctls, be a `server`, `watch` a
namespace, `load` the servers, `wait` for a moment of the run.
"""
