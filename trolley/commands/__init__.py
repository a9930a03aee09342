"""The commands of `trolley`, one file each."""
