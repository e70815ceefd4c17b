"""What ``--dry-run`` says."""
