"""Who gets which row: weighted rendezvous hashing, so adding a row moves no other and adding a name only its share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curate.identity import content_id

if TYPE_CHECKING:
    import polars as pl


def assign(row_ids: "pl.Series", names: Sequence[str], weights: Sequence[float], count: int, seed: int) -> "pl.Series":
    """The `count` names of each row, best first: a list of positions in `names` for each row.

    row_ids: hexadecimal content ids. Each row scores each name by weight / -log(u), u uniform from (row, name, seed).
    """
    import polars as pl

    columns = [str(number) for number in range(len(names))]
    best_first = pl.concat_list(columns).list.eval(pl.element().arg_sort(descending=True)).list.head(count)
    return _scores(row_ids, names, weights, seed).select(best_first.alias("names"))["names"]


def is_assigned(
    row_ids: "pl.Series", names: Sequence[str], weights: Sequence[float], count: int, seed: int
) -> "pl.DataFrame":
    """Whether a row's first `count` names hold a name: a column "0", "1", … for each position in `names`.

    The same as to look into the lists of `assign`, in a fifth of the time.
    """
    import polars as pl

    columns = [pl.col(str(number)) for number in range(len(names))]
    better = [pl.sum_horizontal([other > one for other in columns]) for one in columns]
    return _scores(row_ids, names, weights, seed).select(
        [(rank < count).alias(str(number)) for number, rank in enumerate(better)]
    )


def _scores(row_ids: "pl.Series", names: Sequence[str], weights: Sequence[float], seed: int) -> "pl.DataFrame":
    import polars as pl

    return _words(row_ids).select(
        [
            (weight / -_drawn(pl.col("row"), f"assignment {name}", seed).clip(2.0**-54, 1.0 - 2.0**-53).log()).alias(
                str(number)
            )
            for number, (name, weight) in enumerate(zip(names, weights, strict=True))
        ]
    )


def uniforms(row_ids: "pl.Series", purpose: str, seed: int) -> "pl.Series":
    """One number in 0..1 (1 excluded) for each row, from its id, the purpose and the seed alone.

    row_ids: hexadecimal content ids, of which the first 16 digits count.
    """
    import polars as pl

    return _words(row_ids).select(_drawn(pl.col("row"), purpose, seed).alias("drawn"))["drawn"]


def _words(row_ids: "pl.Series") -> "pl.DataFrame":
    """The first 64 bits of each id."""
    import polars as pl

    return row_ids.rename("row").to_frame().select(pl.col("row").str.head(16).str.to_integer(base=16, dtype=pl.UInt64))


def _drawn(rows: "pl.Expr", purpose: str, seed: int) -> "pl.Expr":
    import polars as pl

    salt = pl.lit(int(content_id("draw", purpose, seed)[:16], 16), dtype=pl.UInt64)
    return (_mixed(rows ^ salt) // 2**11).cast(pl.Float64) * 2.0**-53


def _mixed(values: "pl.Expr") -> "pl.Expr":
    """splitmix64's finaliser (Steele, Lea and Flood 2014): every bit of the input moves every bit of the output.

    Products wrap at 64 bits; a division is the shift that polars does not have.
    """
    import polars as pl

    first, second = (pl.lit(factor, dtype=pl.UInt64) for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
    values = (values ^ (values // 2**30)) * first
    values = (values ^ (values // 2**27)) * second
    return values ^ (values // 2**31)
