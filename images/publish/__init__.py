"""From the files that a build leaves to an image in a cloud: `python -m images publish aws|azure`, playbooks/publish.yml.

Nothing is sent before SHA256SUMS, its signature and the disk's own digest are verified. Run again after an interruption it
goes on, and where the image is there already it says so and sends nothing.
"""
