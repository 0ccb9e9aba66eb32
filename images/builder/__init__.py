"""From a checkout to the files that ship: `python -m images.builder --target vm`, which playbooks/build.yml runs."""
