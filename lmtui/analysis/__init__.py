"""What a scored text adds up to, and what two scores of it differ in."""
