"""What is written: archives, folders that are whole or absent, pictures."""
