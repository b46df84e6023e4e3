"""What `pipelines.toml` may say, as frozen typed objects. The docstring of a key is its entry in the reference."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.config.annotating import AnnotateConfig
from curate.config.calls import CallConfig, check_budget, check_requests, whole
from curate.config.lora import LoraConfig
from curate.config.sources import SourceConfig
from curate.config.table import Bounds, Money, Share, Table, check_names

DEFAULT_THRESHOLDS = {
    "length.characters": Bounds(min=3, max=8000),
    "letters.share": Bounds(min=0.2),
    "letters.words": Bounds(min=2),
    "encoding.damage": Bounds(max=0.02),
    "markup.link_share": Bounds(max=0.5),
    "repetition.word_share": Bounds(max=0.8),
    "placeholder.share": Bounds(max=0.25),
}


class FilterConfig(Table):
    """`[pipelines.NAME.filter]`: which prompts are good enough to be answered."""

    thresholds: dict[str, Bounds] = Field(default_factory=lambda: dict(DEFAULT_THRESHOLDS))
    """Rule name to bounds; replaces the default set as a whole. A rule that is not named does not judge."""
    tags: tuple[str, ...] = ("unsafe.request", "personal.data")
    """Rules that mark rows without dropping any (unsafe requests are what an Aligner must see)."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes that may stay; empty keeps every language and detects none."""


class ModelConfig(CallConfig):
    """One `[[pipelines.NAME.generate.models]]`: an upstream model whose answers will be corrected."""

    name: str
    """The model as it stands in the tables."""
    weight: float = Field(default=1.0, gt=0)
    """Share of prompts, relative to the other models' weights."""
    system: str | None = Field(default=None, min_length=1)
    """System prompt of this model."""

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        return whole(self)


class GenerateConfig(Table):
    """`[pipelines.NAME.generate]`: which models answer which prompts."""

    models: tuple[ModelConfig, ...] = ()
    """Upstream models; each prompt goes to `answers_per_prompt` of them by weight."""
    answers_per_prompt: int = Field(default=1, ge=1)
    """Different models asked for each prompt."""
    samples_per_model: int = Field(default=1, ge=1)
    """Answers that each of them writes to one prompt."""
    fallback: bool = False
    """Where a model gave no usable answer, ask the prompt's next one, until answers_per_prompt are there."""
    budget_usd: Money | None = None
    """Hard limit of this stage, over all runs: no call is sent whose worst case would pass it."""

    @model_validator(mode="after")
    def _budget_has_prices(self) -> Self:
        named = [(model.name, model) for model in self.models]
        check_budget(self.budget_usd, named)
        check_names("model", [model.name for model in self.models])
        check_requests(named)
        if self.models and self.answers_per_prompt > len(self.models):
            raise ValueError(f"answers_per_prompt is {self.answers_per_prompt} but only {len(self.models)} are named")
        return self


class DedupConfig(Table):
    """`[pipelines.NAME.dedup]`: which pairs say the same as another one."""

    model: str = Field(default="sentence-transformers/all-MiniLM-L6-v2", min_length=1)
    """Any sentence-transformers model: a hub name, or a directory relative to this file.

    An installed offline package is taken first.
    """
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    """Of the model while it embeds. Half precision is for GPUs, and moves cosines by about 0.001."""
    question_similarity: float = Field(default=0.95, ge=0.0, le=1.0)
    """Cosine from which two questions belong to one cluster."""
    answer_similarity: float = Field(default=0.90, ge=0.0, le=1.0)
    """Cosine from which two answers in one cluster may be near-duplicates."""
    shingle_similarity: float = Field(default=0.5, gt=0.0, le=1.0)
    """Jaccard similarity of 5-character shingles from which two answers in one cluster may be near-duplicates."""
    lexical_similarity: float = Field(default=0.8, gt=0.0, le=1.0)
    """Jaccard similarity of question and of answer from which two pairs are duplicates by their letters."""
    exchanged_words: int = Field(default=2, ge=0)
    """Answers that are equal but for up to so many words in place of others are not the same: those words matter.

    Words that are only added, left out or misspelt do not count; 0 turns this off.
    """
    near_miss_margin: float = Field(default=0.03, ge=0.0, le=0.5)
    """How far below a cosine's threshold a pair still is a near miss, which people may review."""
    releases: tuple[str, ...] = ()
    """Directories of earlier releases: their pairs stay, and what is near to them falls."""
    evaluation: tuple[SourceConfig, ...] = ()
    """Evaluation sets: what is near to one of their questions falls."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where embeddings are computed and joined; on all GPUs of the machine that torch sees."""
    backend: Literal["auto", "torch", "faiss"] = "auto"
    """What joins embeddings. Both give the same result; auto is torch."""
    batch_tokens: int | None = Field(default=None, ge=512)
    """Tokens embedded at once; without it 4,096 on a CPU and 131,072 on a GPU."""
    cells_beyond: int = Field(default=10_000_000, ge=1)
    """Questions beyond which only those of the same k-means cells are compared; the recall on a sample is then told."""

    @model_validator(mode="after")
    def _evaluation_has_questions_only(self) -> Self:
        if named := [source.path for source in self.evaluation if source.preferences]:
            raise ValueError(f"an evaluation set gives questions only: remove preferences = true of {', '.join(named)}")
        return self


class ReleaseConfig(Table):
    """`[pipelines.NAME.release]`: the last pair filter and how the data set is split."""

    name: str | None = None
    """Name of the data set; the pipeline's name where it is not given."""
    max_characters: int = Field(default=20000, ge=1)
    """A correction longer than this is dropped."""
    validation_share: Share = 0.05
    """Share of question clusters kept for validation."""
    test_share: Share = 0.05
    """Share of question clusters kept for the test."""
    allow_unlicensed: bool = False
    """Release rows whose source has no licence, too (for use inside one house)."""

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        if self.validation_share + self.test_share >= 1.0:
            raise ValueError("validation_share and test_share leave no rows to train on")
        return self


class TrainConfig(Table):
    """`[pipelines.NAME.train]`: how the Aligner learns. A preset gives the defaults of the other keys."""

    preset: Literal["tiny", "aligner-2b", "aligner-7b", "aligner-13b"] = "tiny"
    """tiny: a model of 0.2 million weights from scratch, for CPU and tests; the others follow the paper's training."""
    base: str | None = None
    """Pretrained model (hub name or directory); `tiny` starts from scratch without it."""
    aligner: str | None = None
    """Instead of a base, an Aligner to go on from: its folder, or that of a pipeline's training (`runs/NAME/train`)."""
    rows: Literal["all", "new"] = "all"
    """new: with `aligner`, only the training rows from which it has not learned."""
    replay_share: Share = 0.0
    """With `rows = "new"`, the part of the other rows that is kept against forgetting."""
    template: str | None = None
    """How question and answer are shown: T1 to T5 (docs/train.md), or a file of your own; T1, or that of `aligner`."""
    warmup_share: Share | None = None
    """Part of the rows on which the model first learns to copy (Q-A-A); 0.2, or 0 with `aligner`, which did so."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training rows, the warm-up not counted."""
    lr_peak: float | None = Field(default=None, gt=0, lt=1e38)
    """Highest learning rate, after 10 % (tiny) or 3 % of the steps; cosine to 0 from there."""
    rows_per_step: int | None = Field(default=None, ge=1)
    """Rows whose gradients make one optimiser step: 256 in the paper's presets; `tiny` counts tokens."""
    tokens_per_step: int | None = Field(default=None, ge=64)
    """Tokens whose gradients make one step, where rows are not counted: 2,048 for `tiny`."""
    tokens_per_batch: int | None = Field(default=None, ge=64)
    """Tokens of one packed sequence, which the model sees at once: memory, not results. 2,048 (tiny) or 8,192."""
    max_tokens: int | None = Field(default=None, ge=16)
    """Longest row; a longer one is dropped with a verdict, never cut."""
    max_too_long_share: Share = 0.01
    """Share of the training rows that may be longer; where more are, nothing is trained."""
    activation_checkpointing: bool | None = None
    """Compute activations twice instead of keeping them: a third more time, far less memory. On but for `tiny`."""
    compile: bool | None = None
    """Compile the model with torch.compile; the first steps take minutes."""
    lora: LoraConfig | None = None
    """Train small adapters beside the base's weights, such as `{ rank = 16 }`; without it all weights learn."""
    evaluate_steps: int | None = Field(default=None, ge=1)
    """Held-out loss and samples after every so many steps, not only after each epoch: 50 in the paper's presets."""
    samples: int = Field(default=4, ge=0)
    """Validation rows for which the Aligner writes its correction at each evaluation; 0 leaves that out."""
    tensorboard: bool = False
    """Also write event files for TensorBoard, into `train/tensorboard` of the working directory; needs tensorboardX."""
    checkpoint_minutes: float | None = Field(default=15.0, gt=0)
    """Minutes of training that a kill costs at most."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Save a checkpoint every so many steps, too."""
    checkpoints_kept: int = Field(default=2, ge=1)
    """Newest checkpoints that are kept; each takes three times the float32 weights that learn."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model is trained."""
    processes: int | None = Field(default=None, ge=1)
    """Processes of a machine that train together; one for each GPU that torch sees, or one on a CPU or from scratch."""
    machines: int = Field(default=1, ge=1)
    """Machines that train together; the run says what to start on the others."""
    rendezvous: str | None = Field(default=None, pattern=r"^[\w.:\[\]-]+:[0-9]{1,5}$")
    """host:port of this machine, where several machines find each other."""

    @model_validator(mode="after")
    def _machines_find_each_other(self) -> Self:
        if self.machines > 1 and self.rendezvous is None:
            raise ValueError('machines need a place to find each other: give rendezvous = "host:port" of this machine')
        return self

    @model_validator(mode="after")
    def _one_measure_of_steps(self) -> Self:
        if self.rows_per_step is not None and self.tokens_per_step is not None:
            raise ValueError("rows_per_step and tokens_per_step both say what a step is: give one")
        return self

    @model_validator(mode="after")
    def _starts_from_one_thing(self) -> Self:
        if self.base is not None and self.aligner is not None:
            raise ValueError("base and aligner both say what training starts from: give one")
        if self.lora is not None and self.preset == "tiny" and self.base is None and self.aligner is None:
            raise ValueError("lora adapts weights that were trained before, and tiny starts from scratch: give a base")
        if self.rows == "new" and self.aligner is None:
            raise ValueError('rows = "new" means those that an earlier Aligner has not seen: name it with aligner')
        if self.replay_share and self.rows != "new":
            raise ValueError('replay_share adds to rows = "new", and all rows are trained on here')
        return self


class EvaluateConfig(Table):
    """`[pipelines.NAME.evaluate]`: how the trained Aligner is measured."""

    split: Literal["validation", "test"] = "test"
    """Rows that it is measured on."""
    max_rows: int = Field(default=200, ge=1)
    """Rows for which corrections are written out, the first by id; losses use all rows."""
    max_new_tokens: int = Field(default=512, ge=1)
    """Longest correction that is written out, in tokens."""


class PipelineConfig(Table):
    """`[pipelines.NAME]`: one named pipeline."""

    workdir: str | None = None
    """Directory of tables, ledger and releases, relative to the file; runs/NAME where it is not given."""
    seed: int = 42
    """Everything that is drawn is drawn from this number."""
    budget_usd: Money | None = None
    """Hard limit of all stages together, over all runs of the working directory."""
    sources: tuple[SourceConfig, ...] = ()
    """Where prompts come from, in this order: of equal prompts the first stays."""
    filter: FilterConfig = FilterConfig()
    """Prompt filter."""
    generate: GenerateConfig = GenerateConfig()
    """Answers of upstream models."""
    dedup: DedupConfig = DedupConfig()
    """Pair filter and dedup."""
    annotate: AnnotateConfig = AnnotateConfig()
    """Corrections."""
    release: ReleaseConfig = ReleaseConfig()
    """The released data set."""
    train: TrainConfig = TrainConfig()
    """The Aligner's training."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """The Aligner's evaluation."""

    @model_validator(mode="after")
    def _no_source_twice(self) -> Self:
        check_names("source path", [source.path for source in self.sources])
        return self

    @model_validator(mode="after")
    def _budget_has_prices(self) -> Self:
        models = [(one.name, one) for one in self.generate.models]
        check_budget(self.budget_usd, [*models, *self.annotate.called])
        return self


class FileConfig(Table):
    """The whole file."""

    pipelines: dict[str, PipelineConfig]
    """Pipelines by name."""


class Pipeline(BaseModel):
    """One pipeline with the places that its relative paths mean."""

    model_config = ConfigDict(frozen=True)

    name: str
    folder: Path
    """Directory of the configuration file: relative paths start here."""
    workdir: Path
    config: PipelineConfig

    def path(self, relative: str) -> Path:
        """The place of a path in the configuration."""
        return self.folder / relative
