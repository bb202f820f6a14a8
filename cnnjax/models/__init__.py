"""Classifiers, one file per architecture; `cnnjax.create` builds them by name."""
