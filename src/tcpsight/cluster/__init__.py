"""The same pipeline on a distributed engine: takes what a pass has to be done, has it done by other processes."""
