"""The TLS proxy: an unprivileged process that has the key of 8443, ends TLS and hands the bytes to the portal."""
