"""The suite keeps to this machine."""

import socket

import pytest


def test_a_connection_to_another_machine_is_refused_before_it_is_tried():
    # It warns before it refuses, and warnings are errors here.
    with socket.socket() as tried, pytest.raises(UserWarning, match=r"with host .192\.0\.2\.1"):
        tried.connect(("192.0.2.1", 9))  # of a network that is for documentation


def test_a_connection_to_this_machine_is_not():
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
