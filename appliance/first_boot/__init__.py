"""The first start of an image: its site configuration is looked for where the platform puts user-data, and committed.

A small reader of our own stands here in the place of cloud-init: what is taken is one document, our site configuration, and
there is nothing in it that could run.
"""
