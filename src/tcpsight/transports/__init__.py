"""Ways by which two processes of this machine talk, and what each costs."""
