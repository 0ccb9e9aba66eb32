"""The data plane's hot modules as machine code: compiled by mypyc from the same Python, for the appliance and for tests here."""
