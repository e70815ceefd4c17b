"""What is read off a spectrum: regions and peaks."""
