"""Opens the port: the listening socket, and TLS with the certificates of the settings."""

from __future__ import annotations

import socket
import ssl

from torchserve_drift.errors import ConfigError

_BACKLOG = 1024


def listening_socket(host: str, port: int) -> socket.socket:
    """A non-blocking socket that listens on ``host:port``; OSError where the address cannot be bound."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # After a kill another process binds the port, and must not wait until the old connections have timed out.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def tls_context(certfile: str, keyfile: str | None, client_ca: str | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with the server's certificate.

    With ``client_ca`` only clients with a certificate signed by it can connect.

    Raises
    ------
    ConfigError
        When the certificates cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # without a password function OpenSSL would ask for the password of an encrypted key on the terminal
        context.load_cert_chain(certfile, keyfile, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"export.certfile and export.keyfile must be a certificate and its key in PEM without a password, "
            f"got {certfile!r} and {keyfile!r} ({error})"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError(f"export.client_ca must be certificates in PEM, got {client_ca!r} ({error})") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
