"""MR fingerprinting: T1, T2 and M0 from one series of images and the schedule that made it."""
