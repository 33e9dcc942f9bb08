"""Names and bytes of tiles, as c2sp.org/tlog-tiles has them."""

import pytest

from mlflow_governance.audit import tiles
from mlflow_governance.ledger.merkle import leaf_hash, range_root


@pytest.mark.parametrize(
    ("number", "path"),
    [
        (0, "000"),
        (999, "999"),
        (1000, "x001/000"),
        (1234067, "x001/x234/067"),  # the specification's own example
        (10**9, "x001/x000/x000/000"),
    ],
)
def test_a_tile_stands_where_the_specification_puts_it(number: int, path: str) -> None:
    assert tiles.tile_path(3, number) == f"tile/3/{path}"
    assert tiles.bundle_path(number) == f"tile/entries/{path}"
    assert tiles.tile_path(0, number, 17) == f"tile/0/{path}.p/17"
    assert tiles.bundle_path(number, 255) == f"tile/entries/{path}.p/255"


def test_the_right_edge_is_the_specifications_example() -> None:
    # 70,000 leaves: 273 full tiles and one of 112; one full and one of 17; one of width 1.
    assert tiles.edge(70_000) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert tiles.edge(256) == [(1, 0, 1)]
    assert tiles.edge(0) == []


def test_a_bundle_tells_the_length_of_each_entry() -> None:
    assert tiles.bundle([b"ab", b"", b"c"]) == b"\x00\x02ab\x00\x00\x00\x01c"
    assert tiles.bundle([b"x" * 65_535])[:2] == b"\xff\xff"
    with pytest.raises(ValueError, match="65536"):
        tiles.bundle([b"x" * 65_536])


def test_the_root_of_a_tile_is_that_of_the_tree() -> None:
    hashes = [leaf_hash(b"%d" % index) for index in range(256)]
    assert tiles.perfect_root(hashes) == range_root(hashes)
    assert tiles.hashes_of(b"".join(hashes)) == hashes
