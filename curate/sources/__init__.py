"""Raw files to rows: which files a source means, how each format is read row by row, how a row holds its prompt."""
