"""`python -m modelzoo`: the same as the command `modelzoo`."""

from modelzoo.cli import main

if __name__ == "__main__":
    main()
