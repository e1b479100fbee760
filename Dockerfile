# One image for every role of the Docker lab: server (memcached, Redis, nginx), client and reporter.
#
#   docker build --tag churnlab .
#
# Behind a proxy that signs with a certificate of its own, hand that in; it stays out of the image:
#
#   docker build --secret id=ca_bundle,src=/path/to/ca.pem --tag churnlab .
#
# No "# syntax=" line: it would have to be pulled before anything else, and nothing here needs it.

FROM debian:trixie-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates memcached nginx python3 python3-venv redis-server \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/churnlab
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE hatch_build.py ./
COPY tools tools
COPY loadgen loadgen
COPY lab lab
RUN --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle,required=false \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi; \
    /opt/churnlab/bin/pip install --quiet --no-cache-dir --constraint constraints.txt '.[metrics]' \
    && /opt/churnlab/bin/pip uninstall --quiet --yes pip

FROM debian:trixie-slim
# The servers' programs and the libraries they load: memcached's package brings Perl too, 50 MB for one
# script, and nginx' brings iproute2.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        libatomic1 libevent-2.1-7t64 libjemalloc2 liblzf1 libsasl2-2 python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* \
    && useradd --system --no-create-home --uid 911 churnlab \
    && install --directory --owner churnlab --group churnlab /runs
COPY --from=build /usr/bin/memcached /usr/bin/redis-server /usr/sbin/nginx /usr/bin/
COPY --from=build /opt/churnlab /opt/churnlab
ENV PATH=/opt/churnlab/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1
WORKDIR /runs
USER churnlab
# The version of what the lab and the image say to each other; lab/testbed/docker/engine.py checks it.
LABEL churnlab.image="3"
# The version of what a shard and its control machine say to each other; loadgen/fleet/wire.py has it.
LABEL churnlab.fleet="1"
CMD ["lab", "--help"]
