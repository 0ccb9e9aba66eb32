"""What is measured: each module has the ways of one kind of figure."""
