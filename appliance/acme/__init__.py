"""ACME (RFC 8555): certificates from an authority elsewhere, asked for by a process of its own that is never root.

It holds the account's key and no certificate's: configd gives it a request and judges what comes back.
"""
