"""Drills: what the package does with files that are damaged or forged."""
