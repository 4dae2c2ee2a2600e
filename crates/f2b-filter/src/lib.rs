//! From a log line to a failure: Python's regex dialect, tags, dates, lines.
