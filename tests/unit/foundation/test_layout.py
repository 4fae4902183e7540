"""Every name a mesh gives to a file is one a file system takes."""

from pathlib import Path

from mutua.foundation.layout import Layout

LAYOUT = Layout("x", Path("/state"), Path("/run"))
UID = "0a1b2c3d-0000-4000-8000-000000000000"


def test_a_pods_logs_say_whose_they_are() -> None:
    assert LAYOUT.pod_logs("shop", "web-1", UID) == Path(f"/state/logs/shop_web-1_{UID}")


def test_the_longest_names_fit_and_stay_apart() -> None:
    longest = LAYOUT.pod_logs("n" * 63, "p" * 253, UID)

    assert len(longest.name) == 255
    assert longest.name.endswith(f"_{UID}")
