"""A company that starts in warn, looks at what that would deny, and switches to enforce."""
