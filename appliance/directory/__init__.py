"""Asks a site's directory (LDAP) who somebody is, for configd, as an account of its own."""
