"""What `[pipelines.NAME.annotate]` may say: who corrects which pairs, by which rules, and which corrections stay."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from curate.config.calls import CallConfig, check_budget, check_requests, whole
from curate.config.table import Bounds, Money, Share, Table, check_names

PREFERENCE = "preference"
"""The annotator, and the kind of it, of corrections that preference data bring along."""
ADJUDICATOR = "adjudicator"
"""The annotator of texts that somebody wrote while choosing among others."""
PRINCIPLES = ("helpful", "harmless", "honest")
OF_PEOPLE = ("workflow", "draft", "overlap", "gold", "inspect_share")


class PeopleOverlap(Table):
    """`overlap` of people: a sample of their pairs that several of them correct, without knowing it."""

    share: Share
    """Part of their pairs."""
    people: int = Field(default=2, ge=2, le=8)
    """How many people each of them goes to."""


class GoldConfig(Table):
    """`gold` of people: hidden tasks whose right correction is known, which tell how well each person works."""

    path: str
    """A file of `question`, `answer` and `correction`: the right one, the answer itself, or empty to reject.

    Where people begin with somebody's draft, also of `draft`.
    """
    share: Share = 0.05
    """Gold tasks for each other task."""


class AnnotatorConfig(CallConfig):
    """One `[[pipelines.NAME.annotate.annotators]]`: who writes corrections."""

    name: str = Field(min_length=1)
    """The annotator as it stands in the tables."""
    kind: Literal["model", "people", "recorded"]
    """A model behind an API, people, or corrections recorded in a file."""
    weight: float = Field(default=1.0, ge=0)
    """Share of pairs, relative to the other annotators' weights; 0: only pairs that a route or a fallback brings."""
    quota: int | None = Field(default=None, ge=0)
    """Most pairs that it gets; those beyond go to the annotators that come next for them."""
    principles: tuple[str, ...] = PRINCIPLES
    """Edit principles that a model is given, in this order: names, or files of your own (`mine.toml`)."""
    template: str = "editor"
    """How a model is asked: editor, bracketed, structured, improver, or a file of your own (`mine.toml`)."""
    max_asks: int = Field(default=3, ge=1)
    """How often a model is asked for one correction, as long as its replies cannot be read."""
    workflow: Literal["one-stage", "two-stage"] = "one-stage"
    """People: whether they write the correction at once, or first a harmless and then a helpful version."""
    draft: str | None = None
    """People: the annotator of this pipeline whose correction is where they begin; else it is the answer."""
    overlap: PeopleOverlap | None = None
    """People: the sample of their pairs that several of them correct."""
    gold: GoldConfig | None = None
    """People: hidden tasks that tell how well each person works."""
    inspect_share: Share = 0.0
    """People: part of their pairs whose corrections an inspector accepts, rejects or sends back."""

    @model_validator(mode="after")
    def _only_people_work_so(self) -> Self:
        if self.kind != "people" and (named := sorted(self.model_fields_set & set(OF_PEOPLE))):
            raise ValueError(f'{", ".join(named)}: only for kind = "people"')
        return self

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        if self.kind == "recorded" and self.path is None:
            raise ValueError('kind = "recorded" needs `path`, the file of recorded corrections')
        return whole(self) if self.kind == "model" else self


class RouteConfig(Table):
    """One `[[pipelines.NAME.annotate.routes]]`: pairs that meet all its conditions go to these annotators."""

    annotators: tuple[str, ...] = Field(min_length=1)
    """Names of annotators; their weights share the pairs (equal shares where all weights are 0)."""
    violates: str | None = None
    """A rule that the critic found broken, such as harmless.self_harm; harmless means any rule of that principle."""
    rule: str | None = None
    """A rule of docs/filter.md on the question and the user's earlier turns, such as unsafe.request."""
    min: float = 1.0
    """Lowest score of `rule` that counts."""
    language: str | None = None
    """The prompt's language, as the filter stage found it."""
    source: str | None = None
    """The source file that the prompt came from."""
    model: str | None = None
    """The upstream model that wrote the answer."""

    @model_validator(mode="after")
    def _some_condition(self) -> Self:
        if not any((self.violates, self.rule, self.language, self.source, self.model)):
            raise ValueError("a route needs a condition: violates, rule, language, source or model")
        return self


class OverlapConfig(Table):
    """`[pipelines.NAME.annotate.overlap]`: a sample of pairs that several annotators correct, and who then wins."""

    share: Share = 0.0
    """Part of the pairs that is corrected more than once."""
    annotators: int = Field(default=2, ge=2)
    """How many annotators each of them goes to; those of weight 0 are not among them, unless a route names no other."""
    adjudicate: Literal["vote", "judge", "person"] = "vote"
    """Who picks among several corrections: their majority, the judge, or a person. The others are kept as rejected."""
    decisions: str | None = None
    """person: a file of `pair_id` and `annotator`, whose correction wins; of other pairs a person's own wins."""
    embed: bool = False
    """Whether agreement is told by embeddings, too; needs the model of dedup."""


class CritiqueConfig(CallConfig):
    """`[pipelines.NAME.annotate.critique]`: a model that first says which rules an answer breaks."""

    name: str = Field(default="critic", min_length=1)
    """The critic as it stands in the tables."""
    principles: tuple[str, ...] = PRINCIPLES
    """Principles whose rules it knows: names, or files of your own."""
    template: str = "critique"
    """How it is asked: critique, or a file of your own."""
    max_asks: int = Field(default=3, ge=1)
    """How often it is asked about one pair, as long as its replies cannot be read."""

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        return whole(self)


class JudgeConfig(CallConfig):
    """`[pipelines.NAME.annotate.judge]`: a model that compares each correction with its answer, in both orders."""

    name: str = Field(default="judge", min_length=1)
    """The judge as it stands in the tables."""
    principles: tuple[str, ...] = PRINCIPLES
    """Words for helpful, harmless and honest, on which it judges: names, or files of your own of these names."""
    template: str = "judge"
    """How it is asked: judge, or a file of your own."""
    max_asks: int = Field(default=3, ge=1)
    """How often it is asked about one order, as long as its replies cannot be read."""
    min_preference: float = Field(default=0.0, ge=-1.0, le=1.0)
    """Lowest mean of both orders that stays: 1 is better in both, 0 no difference or a contradiction, -1 worse."""

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        return whole(self)


class LabelStudioConfig(Table):
    """`[pipelines.NAME.annotate.label_studio]`: the server where people write corrections."""

    url: str = "http://127.0.0.1:8080"
    """Address of the server."""
    token_env: str = Field(default="LABEL_STUDIO_TOKEN", max_length=60, pattern=r"^[A-Z][A-Z0-9_]*$")
    """Name of the environment variable that holds the access token, a personal or a legacy one."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the address of a server begins with http:// or https://, then its name")
        if parts.username is not None or parts.password is not None:
            raise ValueError("no user and no password stand in the address: the token comes from token_env")
        return url

    shard_tasks: int = Field(default=5_000, ge=1, le=10_000)
    """Tasks of one project; the server becomes slow beyond 10,000."""
    batch_tasks: int = Field(default=500, ge=1, le=1_000)
    """Tasks of one import."""
    pseudonymous: bool = True
    """Whether people stand in the tables as person-1a2b3c4d; else under their mail address on the server."""


class AnnotateConfig(Table):
    """`[pipelines.NAME.annotate]`: who corrects which pairs."""

    annotators: tuple[AnnotatorConfig, ...] = Field(default=(), max_length=255)
    """Each pair goes to one of them by weight."""
    routes: tuple[RouteConfig, ...] = ()
    """Pairs that go to certain annotators; the first route that fits counts."""
    overlap: OverlapConfig = OverlapConfig()
    """The sample that several annotators correct."""
    fallback: bool = False
    """Where an annotator gives no correction, is down or over its budget, ask the pair's next one."""
    critique: CritiqueConfig | None = None
    """Asks a model first which rules each answer breaks."""
    judge: JudgeConfig | None = None
    """Asks a model afterwards whether each correction is better than its answer."""
    gates: dict[str, Bounds] = Field(default_factory=dict)
    """Gate name to bounds of your own; an end, or a gate, that is not named keeps what docs/gates.md says."""
    gates_off: tuple[str, ...] = ()
    """Gates that do not judge."""
    max_copy_share: Share | None = None
    """Largest part of the corrections that may equal their answer; copies beyond it are dropped by draw."""
    budget_usd: Money | None = None
    """Hard limit of this stage, over all runs: no call is sent whose worst case would pass it."""
    label_studio: LabelStudioConfig | None = None
    """Where people work."""

    @property
    def called(self) -> list[tuple[str, CallConfig]]:
        """Every model that this stage calls, by name."""
        models: list[AnnotatorConfig | CritiqueConfig | JudgeConfig]
        models = [one for one in self.annotators if one.kind == "model"]
        models += [one for one in (self.critique, self.judge) if one is not None]
        return [(one.name, one) for one in models]

    @model_validator(mode="after")
    def _budget_has_prices(self) -> Self:
        check_budget(self.budget_usd, self.called)
        callers = [name for name, _ in self.called]
        others = [one.name for one in self.annotators if one.kind != "model"]
        check_names("annotator", [*callers, *others])
        check_requests(self.called)
        return self

    @model_validator(mode="after")
    def _everybody_is_known(self) -> Self:
        names = {one.name for one in self.annotators}
        for name, use in ((PREFERENCE, "from preference data"), (ADJUDICATOR, "that adjudicators write")):
            if name in names:
                raise ValueError(f'"{name}" is the name of corrections {use}: choose another')
        for one in self.annotators:
            drafters = [other.name for other in self.annotators if other.kind != "people"]
            if one.draft is not None and one.draft not in drafters:
                raise ValueError(
                    f'{one.name}: the draft is to come from "{one.draft}", which is no model or recorded annotator '
                    f"of this pipeline; there are: {', '.join(drafters) or 'none'}"
                )
        for route in self.routes:
            if unknown := sorted(set(route.annotators) - names):
                raise ValueError(f"a route names {', '.join(unknown)}, who is no annotator of this pipeline")
            if route.violates and self.critique is None:
                raise ValueError("a route by `violates` needs a [pipelines.NAME.annotate.critique]")
        if self.annotators and not any(one.weight for one in self.annotators):
            raise ValueError("all weights are 0: nobody would get a pair that no route takes")
        if self.overlap.share and self.overlap.annotators > len(self.annotators):
            raise ValueError(
                f"overlap wants {self.overlap.annotators} annotators, but {len(self.annotators)} are named"
            )
        if self.overlap.adjudicate == "judge" and self.judge is None:
            raise ValueError('adjudicate = "judge" needs a [pipelines.NAME.annotate.judge]')
        if self.overlap.decisions and self.overlap.adjudicate != "person":
            raise ValueError('`decisions` goes with adjudicate = "person"')
        return self
