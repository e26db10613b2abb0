"""The linear head with the classes on many processes."""
