"""What leaves the project: the book, pages, tables for other tools."""
