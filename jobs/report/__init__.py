"""The HTML report of an evaluation: one file, its own styles and pictures, nothing fetched."""
