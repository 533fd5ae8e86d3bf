"""The claim on the port: when it is bound, shared, released and taken again."""

from __future__ import annotations

import pytest

from servers import free_ports
from snapshots import usual
from torchserve_drift.port.claim import PortClaim
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.settings.settings import Export


def test_a_port_is_served_while_there_is_something_to_show() -> None:
    export = Export(address=f"127.0.0.1:{free_ports(1)[0]}")
    claim, other = PortClaim(export), PortClaim(export)  # of two processes
    a, b = usual(model_name="a"), usual(model_name="b")

    def first() -> list[Snapshot]:
        return [a]

    def second() -> list[Snapshot]:
        return [a, b]

    assert not claim.serve()
    claim.show(first)
    other.show(first)
    assert [claim.serve(), claim.serve(), other.serve()] == [True, True, False]
    claim.show(second)
    assert [snapshot["model_name"] for snapshot in claim._snapshots()] == ["a", "b"]
    claim.hide(first)
    assert claim.port is not None
    claim.hide(second)
    assert claim.port is None
    assert other.serve()
    other.hide(first)


def test_a_port_whose_server_has_ended_is_taken_again() -> None:
    claim = PortClaim(Export(address="127.0.0.1:0"))
    claim.show(list)
    assert claim.serve()
    ended = claim._server
    assert ended is not None
    ended.stop()
    assert claim.serve()
    assert claim._server is not ended
    claim.hide(list)


def test_an_address_of_another_host_is_an_error() -> None:
    claim = PortClaim(Export(address="192.0.2.1:8083"))
    claim.show(list)
    with pytest.raises(OSError, match="assign"):
        claim.serve()
    claim.hide(list)
