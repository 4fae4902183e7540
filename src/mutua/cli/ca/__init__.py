"""`mutua ca`: the certificate authority, its keys and its log."""
