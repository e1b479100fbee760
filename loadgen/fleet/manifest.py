"""A fleet's shards as an Indexed Job of Kubernetes, for `loadgen run --fleet wait`. Pure.

The pods are what the tasks of a Swarm are: the same command, the same key as a file of a secret, the
same connection to control; the place a shard holds is its completion index. Each runs once
(`restartPolicy: Never`, `backoffLimit: 0`): one that died stays away, for its share is counted as
not started. They connect to control and nobody connects to them, so there is no Service.

In the host's network a pod's sysctls would be the node's, and Kubernetes refuses them; so a manifest
has either the host's network or sysctls. `net.ipv4.ip_local_port_range` is among those that the
kubelet calls safe, `net.ipv4.tcp_tw_reuse` is not and has to be allowed on each node
(kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from loadgen.target import endpoint

_KEY: Final = "fleet.key"
_FOLDER: Final = "/run/secrets/churnlab"
_USER: Final = 911
"""The image's user, see the Dockerfile."""
_INDEX: Final = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
KEPT: Final = 600
"""Seconds for which a job that has ended is kept, for its logs."""


def kubernetes(
    *,
    name: str,
    namespace: str,
    image: str,
    shards: int,
    collector: tuple[str, int],
    key: bytes,
    sysctls: Mapping[str, str],
) -> dict[str, Any]:
    """Return the list of resources to apply.

    Args:
        name: of the job and the secret.
        namespace: where they go.
        image: what the nodes can pull.
        shards: how many pods, all at once.
        collector: where they reach control.
        key: of the run.
        sysctls: of each pod; with any, the pods have networks of their own.
    """
    labels = {"app.kubernetes.io/name": "churnlab", "churnlab.fleet/run": name}
    about = {"name": name, "namespace": namespace, "labels": labels}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": about,
        "type": "Opaque",
        "immutable": True,
        "data": {_KEY: base64.b64encode(key).decode("ascii")},
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": labels},
            }
        ],
        "containers": [_container(image, collector)],
        "volumes": [{"name": "key", "secret": {"secretName": name, "defaultMode": 0o440}}],
    }
    if sysctls:
        pod["securityContext"]["sysctls"] = [
            {"name": key, "value": value} for key, value in sysctls.items()
        ]
    else:
        pod |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": about,
        "spec": {
            "completionMode": "Indexed",
            "completions": shards,
            "parallelism": shards,
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": KEPT,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [secret, job]}


def _container(image: str, collector: tuple[str, int]) -> dict[str, Any]:
    host, port = collector
    return {
        "name": "shard",
        "image": image,
        "command": ["loadgen", "fleet", "shard"],
        "env": [
            {
                "name": "CHURNLAB_COLLECTOR",
                "value": endpoint(host, port),
            },
            {"name": "CHURNLAB_FLEET_KEY", "value": f"{_FOLDER}/{_KEY}"},
            {"name": "CHURNLAB_SEAT", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}},
            {"name": "CHURNLAB_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "key", "mountPath": _FOLDER, "readOnly": True}],
    }
