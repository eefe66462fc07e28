"""A run's certificate, by which its workers know each other where their traffic is encrypted."""

from datetime import datetime


def no_certificate() -> bytes:
    """For runs whose workers talk in the clear."""
    return b""


def fresh_certificate() -> bytes:
    """A new private key, and a certificate that is signed with it, as PEM.

    It is good for all times: a run ends when it ends, and clocks of nodes differ.
    """
    # A tenth of a second, which services that encrypt nothing do without.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gradloom")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(1970, 1, 1))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
