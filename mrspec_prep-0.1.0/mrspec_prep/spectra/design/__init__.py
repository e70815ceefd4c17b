"""What a protocol can tell, before anything is fitted."""
