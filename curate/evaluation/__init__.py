"""Measures of corrections, pure: numbers in, numbers out."""
