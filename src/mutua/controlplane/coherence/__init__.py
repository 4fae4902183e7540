"""Does what is issued fit what is trusted, everywhere and right now?"""
