"""From files of a dataset to series of encodings."""
