"""Downloads the weights of the catalogue's entries, as `avatar-creator weights download` does."""

from server.cli.weights import download

if __name__ == "__main__":
    download(prog_name="download_weights.py")
