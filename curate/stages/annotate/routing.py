"""Who gets which pair: routes first, then weights, then quotas; the same for the same seed, whatever the order."""

from typing import TYPE_CHECKING

from curate.assignment import assign, uniforms
from curate.config.annotating import AnnotateConfig, RouteConfig

if TYPE_CHECKING:
    import polars as pl

NO_ROUTE = -1


def plan(pairs: "pl.DataFrame", config: AnnotateConfig, seed: int) -> "pl.DataFrame":
    """Of each pair (in their order): `order`, the numbers of its annotators, and `wanted`, how many of the first work.

    pairs: pair_id, question, turns, model, source, language and `violations`, the rules that the critic found broken.
    Pairs of the overlap sample want several annotators, all others one. Who comes after those is asked on a fallback.
    """
    import polars as pl

    routes = _routes(pairs, config)
    parts = [pl.DataFrame(schema={"row": pl.UInt32, "order": pl.List(pl.UInt8), "most": pl.Int32})]
    for number in sorted(set(routes.to_list())):
        rows = (routes == number).arg_true()
        ids = pairs["pair_id"].gather(rows)
        orders, most = _ordered(ids, config, number, seed)
        parts.append(pl.DataFrame({"row": rows, "order": orders}).with_columns(pl.lit(most).alias("most")))
    rows = pl.concat(parts).sort("row")
    is_overlap = uniforms(pairs["pair_id"], "overlap", seed) < config.overlap.share
    wanted = pl.when("is_overlap").then(pl.min_horizontal("most", pl.lit(config.overlap.annotators))).otherwise(1)
    return rows.with_columns(pairs["pair_id"], is_overlap.alias("is_overlap")).select(
        "pair_id", "order", wanted.cast(pl.UInt8).alias("wanted")
    )


def within_quotas(planned: "pl.DataFrame", config: AnnotateConfig, seed: int) -> "pl.DataFrame":
    """The plan of all pairs, where no annotator has more than its quota.

    Each annotator with a quota keeps the pairs that it drew first, and is struck from the others' orders: those go to
    whoever comes next, until everybody's quota holds. Nobody with a quota is left for fallbacks. A pair whose
    annotators are all full has an empty order.
    """
    import polars as pl

    quotas = {number: one.quota for number, one in enumerate(config.annotators) if one.quota is not None}
    if not quotas:
        return planned
    table = (
        planned.with_row_index("row")
        .explode("order")
        .rename({"order": "number"})
        .filter(pl.col("number").is_not_null())
    )
    table = table.with_columns(pl.lit(0.0).alias("drawn"))
    for number in quotas:
        drawn = uniforms(table["pair_id"], f"quota {config.annotators[number].name}", seed)
        table = table.with_columns(pl.when(pl.col("number") == number).then(drawn).otherwise("drawn").alias("drawn"))
    quota = pl.col("number").cast(pl.Int64).replace_strict(quotas, default=None, return_dtype=pl.Int64)
    while True:
        table = table.with_columns((pl.int_range(pl.len()).over("row") < pl.col("wanted")).alias("works"))
        place = pl.struct("drawn", "pair_id").rank("ordinal").over("number", "works")
        is_over = pl.col("works") & (place > quota).fill_null(value=False)
        over = table.select(is_over.alias("is_over"))["is_over"]
        if not over.any():
            break
        table = table.filter(~over)
    is_kept = pl.col("works") | quota.is_null()
    orders = table.filter(is_kept).group_by("row", maintain_order=True).agg(pl.col("number").alias("order"))
    rows = planned.with_row_index("row").drop("order").join(orders, on="row", how="left", maintain_order="left")
    return rows.select("pair_id", pl.col("order").fill_null([]), "wanted")


def _routes(pairs: "pl.DataFrame", config: AnnotateConfig) -> "pl.Series":
    """Number of the first route that each pair fits, else NO_ROUTE."""
    import polars as pl

    numbers = pl.Series("route", [NO_ROUTE] * pairs.height, dtype=pl.Int64)
    for number in reversed(range(len(config.routes))):
        fits = _fits(pairs, config.routes[number])
        numbers = pl.select(pl.when(fits).then(number).otherwise(numbers).alias("route"))["route"].cast(pl.Int64)
    return numbers


def _fits(pairs: "pl.DataFrame", route: RouteConfig) -> "pl.Series":
    import polars as pl

    from curate.rules.judging import said
    from curate.rules.registry import find_rules

    columns = {"language": route.language, "source": route.source, "model": route.model}
    conditions = [pl.col(name).eq_missing(pl.lit(wanted)) for name, wanted in columns.items() if wanted is not None]
    if route.violates is not None:
        broken = pl.element()
        is_meant = (broken == route.violates) | broken.str.starts_with(f"{route.violates}.")
        conditions.append(pl.col("violations").list.eval(is_meant).list.any())
    if route.rule is not None:
        score = find_rules([route.rule])[route.rule].score(pl.col("said"))
        conditions.append(score >= route.min)
    return pairs.with_columns(said("question").alias("said")).select(
        pl.all_horizontal(conditions).fill_null(value=False).alias("fits")
    )["fits"]


def _ordered(ids: "pl.Series", config: AnnotateConfig, route: int, seed: int) -> "tuple[pl.Series, int]":
    """Numbers of the annotators of each pair of a route, the first to work first; those of weight 0 come last.

    Also how many of them may work on one pair without a fallback.
    """
    import polars as pl

    weights = {number: one.weight for number, one in enumerate(config.annotators)}
    if route != NO_ROUTE:
        named = config.routes[route].annotators
        weights = {number: weight for number, weight in weights.items() if config.annotators[number].name in named}
    drawn = {number: weight for number, weight in weights.items() if weight} or dict.fromkeys(weights, 1.0)
    last = dict.fromkeys(weights.keys() - drawn.keys(), 1.0)
    orders = ids.to_frame("pair_id")
    for column, group in (("drawn", drawn), ("last", dict(sorted(last.items())))):
        names = [config.annotators[number].name for number in group]
        places = assign(ids, names, list(group.values()), len(names), seed) if names else None
        numbers = dict(enumerate(group))
        as_numbers = pl.element().cast(pl.Int64).replace_strict(numbers, return_dtype=pl.UInt8)
        orders = orders.with_columns(
            pl.lit([], pl.List(pl.UInt8)).alias(column)
            if places is None
            else places.list.eval(as_numbers).alias(column)
        )
    return orders.select(pl.concat_list("drawn", "last").alias("order"))["order"], len(drawn)
