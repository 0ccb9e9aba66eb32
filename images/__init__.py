"""Root trees, guests and the lab: from Debian packages to a running appliance that can be looked at from outside."""
