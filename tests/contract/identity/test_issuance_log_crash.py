"""kill -9 while certificates are issued: all that was handed out is in the log, which is whole."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mutua.foundation.clock import SystemClock
from mutua.identity.issuance_chain import ISSUED
from mutua.identity.issuance_log import IssuanceLog, issuance_of, read_records, segments

ISSUER = """
import sys
from pathlib import Path
from mutua.foundation.clock import SystemClock
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.issuance_log import IssuanceLog

folder = Path(sys.argv[1])
log = IssuanceLog(folder / "issuance", SystemClock(), segment_bytes=20_000)
authority = Authority.load_or_create(folder / "ca", "cluster.local", SystemClock(), journal=log)
identity = SpiffeId("cluster.local", "shop", "web")
request = new_request(identity).csr_pem
while True:
    print(authority.sign(request, identity).serial_number, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_every_certificate_that_was_handed_out_is_in_the_log(tmp_path: Path, seed: int) -> None:
    handed_out: set[str] = set()
    for _ in range(3):
        issuer = subprocess.Popen(
            [sys.executable, "-c", ISSUER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert issuer.stdout is not None
        handed_out.update(issuer.stdout.readline().strip() for _ in range(2))
        time.sleep(random.Random(seed).uniform(0, 0.3))  # when it dies is the subject
        os.kill(issuer.pid, signal.SIGKILL)
        *lines, _torn = issuer.stdout.read().split("\n")
        issuer.wait()
        issuer.stdout.close()
        handed_out.update(lines)

    IssuanceLog(tmp_path / "issuance", SystemClock()).close()

    issued = [issuance_of(one) for one in read_records(tmp_path / "issuance") if one.kind == ISSUED]
    serials = {one.serial_number for one in issued}
    assert len(handed_out) > 3
    assert handed_out <= serials
    assert len(serials - handed_out) <= 3  # one for each death: written, not yet handed out
    assert len(segments(tmp_path / "issuance")) >= 1
