"""UEMs that do not speak our protocol, asked by their own public APIs (docs/uem-adapters.md).

| module | what it is |
|---|---|
| `entry` | a UEM's word on one device in our terms, and all of them at one time (pure) |
| `changes` | what of such a word is news to the device list (pure) |
| `epmm_table`, `intune_table` | what each of a vendor's values becomes (data) |
| `epmm`, `intune` | a vendor's records into entries, and how it is asked for them |
| `client`, `pace`, `token` | HTTPS to one host, within bounds and at a rate that the host likes; a token for it |
| `link` | all of that as the link that the agent uses for any UEM |
"""
