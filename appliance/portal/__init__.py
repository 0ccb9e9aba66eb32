"""The portal: an unprivileged HTTPS face of configd for administrators (8443, management zone)."""
