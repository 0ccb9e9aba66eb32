"""The small UEM in the box: who may pass is registered here, and told to the Sentry (docs/uem-api.md)."""
