"""The images and the composed stack, run for real by `make test-docker`; outside the ordinary suite, for it is slow."""
