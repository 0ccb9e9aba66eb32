"""The gateway on 443: accept, head, identify, decide, enforce or forward, account (see docs/gateway.md)."""
