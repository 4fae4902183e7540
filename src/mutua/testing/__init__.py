"""Fakes of every port, virtual time, builders: shipped, never imported by the rest."""
