"""The configuration model: one schema composed of all features, revisions, differences and secrets."""
