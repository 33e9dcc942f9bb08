"""What leaves the house for an auditor, who need not trust it: files that prove themselves."""
