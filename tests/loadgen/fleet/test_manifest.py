"""The manifest: valid by Kubernetes' own schemas, and the same command as on a swarm."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.loadgen.cli.command import loadgen

VERSIONS = ("1.28", "1.37")
"""The oldest whose completion index is an annotation of that name, and the newest known."""


def manifest(folder: Path, *options: str) -> dict[str, Any]:
    done = loadgen(
        *("fleet", "manifest", "--kubernetes", "--shards", "5", "--fleet-key", "key"),
        *("--collector", "10.0.0.9:7946", "--image", "registry.example/churnlab:1", *options),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("options", [[], ["--sysctl", "net.ipv4.ip_local_port_range=1024 65000"]])
def test_every_resource_is_valid(tmp_path: Path, options: list[str]) -> None:
    found = manifest(tmp_path, *options)
    assert [one["kind"] for one in found["items"]] == ["Secret", "Job"]
    for resource in found["items"]:
        for version in VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)
    broken = json.loads(json.dumps(found["items"][1]))
    broken["spec"]["completions"] = "five"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_the_key_is_made_once_and_is_the_run_s(tmp_path: Path) -> None:
    first, second = manifest(tmp_path), manifest(tmp_path)
    assert first == second
    key = (tmp_path / "key").read_bytes()
    assert len(key) == 32
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert base64.b64decode(first["items"][0]["data"]["fleet.key"]) == key


def test_pods_are_in_the_node_s_network_unless_they_have_sysctls(tmp_path: Path) -> None:
    """Kubernetes refuses both at once."""
    plain = manifest(tmp_path)["items"][1]["spec"]["template"]["spec"]
    assert plain["hostNetwork"] is True
    assert "sysctls" not in plain["securityContext"]
    own = manifest(tmp_path, "--sysctl", "net.ipv4.ip_local_port_range=1024 65000")
    tuned = own["items"][1]["spec"]["template"]["spec"]
    assert "hostNetwork" not in tuned
    assert tuned["securityContext"]["sysctls"] == [
        {"name": "net.ipv4.ip_local_port_range", "value": "1024 65000"}
    ]


def test_a_job_has_a_pod_a_shard_and_each_runs_once(tmp_path: Path) -> None:
    job = manifest(tmp_path)["items"][1]["spec"]
    assert (job["completions"], job["parallelism"], job["backoffLimit"]) == (5, 5, 0)
    assert job["completionMode"] == "Indexed"
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["command"] == ["loadgen", "fleet", "shard"]
