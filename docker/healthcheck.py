"""Exit code 0 while the service in this container is ready: `HEALTHCHECK` runs it every few seconds, so it is small."""

import http.client
import os
import sys


def is_ready(port: int) -> bool:
    """Ask /readyz on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_ready(int(os.environ.get("WILDSAT_HEALTH_PORT", "8000"))) else 1)
