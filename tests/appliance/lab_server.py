"""A server of the tests' beside the running appliance: its certificate, of the authority that sites/lab.yml names for servers."""

from pathlib import Path

from images.paths import Layout
from images.run import run


def certificate_of(layout: Layout, folder: Path, name: str, address: str) -> tuple[str, str]:
    """Made in `folder`, for this address: the file of the certificate, and that of its key."""
    (folder / "ext").write_text(
        f"subjectAltName=IP:{address}\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n"
    )
    key, request, made = folder / "key.pem", folder / "csr.pem", folder / "cert.pem"
    run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
         "-keyout", key, "-out", request])  # fmt: skip
    authority = layout.lab / "backend-ca.pem"
    run(["openssl", "x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority.with_suffix(".key"), "-days", "2",
         "-sha256", "-extfile", folder / "ext", "-out", made])  # fmt: skip
    return str(made), str(key)
