"""Asking models for what the ledger lacks: who is asked next, how fast, how often, for how much."""
