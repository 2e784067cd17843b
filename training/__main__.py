"""`torchrun -m training` starts `wildsat train` in each process."""

import sys

from wildsat_core.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
