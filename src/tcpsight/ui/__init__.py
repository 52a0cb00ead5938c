"""Takes slices of a watch, gives a screen for a terminal and a page for a browser."""
