"""The vocabulary that all packages share: typed tables, small records, protocols and errors."""
