"""The command line: what a person sees, what a program reads, and how every failure ends."""
