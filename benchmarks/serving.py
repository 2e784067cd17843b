"""The service that `benchmarks.http` asks, in processes of its own; random collections get a random model.

Of several processes each imports this first, so what takes long to import comes later.
"""

import sys


def load_for(name: str):
    """None where a collection has a real model."""
    from benchmarks.random_collection import RandomModel

    return (lambda model: RandomModel()) if name.startswith("random-") else None


def worker():
    """The application of one of several processes."""
    from app.settings import Settings
    from app.workers import worker_app

    return worker_app(load_for(Settings().default_collection))


def main(port: int) -> None:
    """Serve by the settings that the environment holds."""
    from app.connections import Room
    from app.settings import Settings

    settings = Settings()
    options = {"port": port, "log_level": "error", "ws": "none", "access_log": False, "proxy_headers": False}
    options |= {"http": Room(settings.share().max_connections).protocol, "server_header": False}
    if settings.workers > 1:
        from app.workers import serve_together

        serve_together(settings.workers, "benchmarks.serving:worker", **options)
        return
    import uvicorn

    from app.main import create_app

    uvicorn.run(create_app(settings, load_for(settings.default_collection)), **options)


if __name__ == "__main__":
    main(int(sys.argv[1]))
