"""`mutua certs`: who is who in this mesh, and until when?"""
