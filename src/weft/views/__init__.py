"""Objects and metrics to tables and cards; the command line and the dashboard share them.

Takes: values. Gives: rows and columns. Never: terminals, HTML, I/O.
"""
