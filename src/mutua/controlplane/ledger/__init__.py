"""Who arrives without mutual TLS: since when, how often, and why?"""
