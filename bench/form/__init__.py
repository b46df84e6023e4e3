"""The form that all benchmarks share: data, measured child processes, ratios with targets."""
