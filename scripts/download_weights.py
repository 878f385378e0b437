"""Downloads the catalogue's models: the same as `avatar-creator weights download`."""

from server.cli.weights import download

if __name__ == "__main__":
    download(prog_name="download_weights.py")
