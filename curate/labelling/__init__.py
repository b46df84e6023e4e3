"""People's work between our ledger and Label Studio: what comes next (workflow), where (team), push, pull, reports."""
