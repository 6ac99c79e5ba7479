"""Consent to run code, the working directory kept out, text of others escaped, credentials hidden."""
