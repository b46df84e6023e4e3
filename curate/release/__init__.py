"""The released data set as values: its rows and splits, the difference of two releases, versions and the card. Pure."""
