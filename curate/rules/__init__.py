"""Text rules, one family a file: each turns a text column into a number column and knows no threshold."""
