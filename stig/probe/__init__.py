"""Live probes from the scanner's side: what answers, and how."""
