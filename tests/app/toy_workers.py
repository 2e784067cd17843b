"""A program for the tests: serves toy collections as `wildsat serve --workers 2` serves real ones.

Each process imports this first, so what takes long to import comes later.
"""

import sys


def app():
    from app.workers import worker_app
    from tests.app.conftest import ToyModel

    return worker_app(lambda name: ToyModel())


def main() -> None:
    import logging.config

    from app.connections import Room
    from app.logs import log_config
    from app.workers import serve_together

    logging.config.dictConfig(log_config("info"))
    serve_together(
        2,
        "tests.app.toy_workers:app",
        http=Room(500).protocol,
        ws="none",
        port=int(sys.argv[1]),
        log_config=log_config("info"),
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
