"""What tissue is likely to be: priors given, or learned from the scan, and posteriors under them."""
