"""ASK: the commands. Each module is imported only when its command runs."""
