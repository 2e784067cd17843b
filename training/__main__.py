"""`torchrun -m training` starts `wildsat train` in each process."""

import sys

from wildsat_core.cli import main

if __name__ == "__main__":
    try:
        main(["train", *sys.argv[1:]])
    except SystemExit as end:
        from training.distributed import end_process, several_processes

        if end.code == 0 and several_processes():
            end_process()
        raise
