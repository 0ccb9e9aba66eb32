"""The lab: one appliance guest with its three zones, provisioned, scanned and probed on the machine the command runs on."""
