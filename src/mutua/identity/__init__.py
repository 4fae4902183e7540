"""Keys, certificates, the authority that signs them, and when they are renewed."""
