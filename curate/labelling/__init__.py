"""People's work between our ledger and Label Studio: push, pull. The ledger is the source of truth."""
