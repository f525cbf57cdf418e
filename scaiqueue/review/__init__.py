"""Human in the loop: what a reviewer is shown and asked, and what a decision must be."""
