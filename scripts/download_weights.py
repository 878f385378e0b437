"""Downloads the weights of the catalogue's entries, as `avatar-creator weights download` does."""

import sys

from server.cli import main

if __name__ == "__main__":
    main(["weights", "download", *sys.argv[1:]], prog_name="avatar-creator")
