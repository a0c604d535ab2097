"""``python -m metamery.framework``: the program, where the command ``metamery`` is not on the path."""

from .start import entry

if __name__ == "__main__":
    entry()
