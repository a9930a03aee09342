"""`python -m trolley`, which works in every path, unlike a script's first line."""

from trolley.cli import main

if __name__ == "__main__":
    main()
