"""Checks in the manner of Kubernetes' test/cmd: kubectl against the API server alone."""

import asyncio
from pathlib import Path

import pytest

from tests import kubectl_scripts
from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import binaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not binaries(), reason="kubectl is not installed"),
]
CHECKS = Path(__file__).parent / "checks"


@pytest.mark.parametrize("script", kubectl_scripts.scripts(CHECKS))
@pytest.mark.parametrize("binary", binaries()[-2:], ids=lambda p: Path(p).name)
async def test_kubectl_prints_what_it_prints_elsewhere(
    script: Path, binary: str, live: Running, tmp_path: Path
) -> None:
    """With the two newest versions that are installed."""
    await asyncio.to_thread(
        kubectl_scripts.run, script, binary, live.kubeconfig, tmp_path, "checks"
    )
