"""What is made to be taken away from the appliance: support bundles, captures of packets, and what a hung process left."""
