"""Captures that may be given away: headers built anew with mapped addresses, and nothing else of the original."""
