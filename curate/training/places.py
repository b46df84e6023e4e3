"""What lies in the stage's folder while it is at work, by name; nothing heavy is loaded."""

CHECKPOINTS = "checkpoints"
"""Where the training can go on."""

JOB = "job"
"""What several processes read."""

STEPS, BOARD = "steps.jsonl", "tensorboard"
"""Each step with its times, twice."""

LOG = "processes.log"
"""What several processes print beside their progress."""

ADAPTER = "adapter"
"""LoRA's adapter by itself, in a finished phase and as it is published."""
