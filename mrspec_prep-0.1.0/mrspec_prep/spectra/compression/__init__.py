"""What a kernel and its signals are compressed to, exactly."""
