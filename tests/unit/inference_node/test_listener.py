"""A listening socket moves away under a server that has connections."""

from __future__ import annotations

import socket
import threading

import pytest

from inference_node.engines.listener import SocketRow, connections_to, move_listener, parse_rows
from tests.waiting import wait_for

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9284 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:98DA 01 00000010:00000000 00:00000000 00000000     0        0 10076 3 0 21 4 27 16 -1
"""


def test_rows_of_the_kernels_table() -> None:
    assert list(parse_rows(TABLE)) == [SocketRow(8080, "0A", False, "9284"), SocketRow(8080, "01", True, "10076")]


def test_new_connections_are_refused_and_old_ones_go_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        accepted: list[socket.socket] = []
        threading.Thread(target=accept_for_ever, args=(server, accepted), daemon=True).start()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as old:
            wait_for(lambda: len(accepted) == 1, 5, "the connection is accepted")

            private_port = move_listener("127.0.0.1", port)

            wait_for(lambda: refuses(port), 5, "new connections are refused")
            accepted[0].sendall(b"still here")
            assert old.recv(64) == b"still here"
            assert connections_to(port).live >= 1
            with socket.create_connection(("127.0.0.1", private_port), timeout=5) as private:
                wait_for(lambda: private.getsockname() in peers(accepted), 5, "the server accepts at its private port")
        for connection in accepted:
            connection.close()


def test_a_port_of_another_process_is_not_ours_to_move() -> None:
    with pytest.raises(LookupError, match="does not listen"):
        move_listener("127.0.0.1", 1)


def accept_for_ever(server: socket.socket, accepted: list[socket.socket]) -> None:
    while True:
        try:
            accepted.append(server.accept()[0])
        except OSError:
            return


def peers(connections: list[socket.socket]) -> list[object]:
    found = []
    for connection in connections:
        try:
            found.append(connection.getpeername())
        except OSError:  # the one that woke accept() is gone
            continue
    return found


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
